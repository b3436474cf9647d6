//! From the pipe to the peer: the one place that joins the stages.

pub(crate) mod assemble;
pub(crate) mod balanced;
pub(crate) mod carrier;
pub(crate) mod command;
pub(crate) mod deliver;
pub(crate) mod door;
pub(crate) mod flush;
pub(crate) mod fullness;
pub(crate) mod home;
pub(crate) mod lane;
pub(crate) mod ledger;
pub(crate) mod line;
pub(crate) mod observe;
pub(crate) mod outlet;
pub(crate) mod partition;
pub(crate) mod prepare;
pub(crate) mod registry;
pub(crate) mod reply;
pub(crate) mod shared;
pub(crate) mod spacing;
pub(crate) mod submission;
