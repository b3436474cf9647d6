//! Carrying requests to a collector: the codec and the rules are pure, the client drives them.

pub mod http1;
