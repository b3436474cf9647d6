//! The rows: their names, their figures, and who takes part.

use std::fmt;

use clap::ValueEnum;

use super::peer::Peer;
use crate::compare::lines::Unit;

/// What is measured.
///
/// A row of tasks exists twice: as it is, for tasks that any worker may run (or that the peer's
/// `spawn` at least demands to be `Send`), and `pinned`, for tasks that stay where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Row {
    /// Memory of a waiting task with an 8-byte future and its handle.
    #[value(name = "idle_task_bytes")]
    IdleTask,
    /// The same, pinned.
    #[value(name = "idle_task_bytes_pinned")]
    IdleTaskPinned,
    /// 1000 tasks are spawned, then joined.
    SpawnJoinBatch,
    /// The same, pinned.
    SpawnJoinBatchPinned,
    /// A task is spawned and joined, then the next.
    SpawnJoinOne,
    /// The same, pinned.
    SpawnJoinOnePinned,
    /// A single task yields.
    #[value(name = "yield_1")]
    YieldOne,
    /// The same, pinned.
    #[value(name = "yield_1_pinned")]
    YieldOnePinned,
    /// 1000 tasks yield.
    #[value(name = "yield_1000")]
    YieldThousand,
    /// The same, pinned.
    #[value(name = "yield_1000_pinned")]
    YieldThousandPinned,
    /// Two tasks pass a message to and fro.
    PingPongChannel,
    /// The same, pinned.
    PingPongChannelPinned,
    /// A timer is made, armed and dropped.
    TimerCancel,
    /// CPU time of one of many sleeping tasks.
    #[value(name = "sleeps_cpu")]
    Sleeps,
    /// 64 bytes to a server in another process and back.
    EchoTcp,
    /// The same over 64 connections at once: time on the clock, CPU time.
    #[value(name = "echo_tcp_64")]
    EchoTcpMany,
    /// Tasks spawned by the main thread: time on the clock, CPU time.
    SpawnOutside,
    /// The main thread wakes a task of a sleeping runtime.
    WakeIdle,
    /// tokio's: spawns by `block_on`.
    SpawnManyLocal,
    /// tokio's: spawns from outside, the runtime is idle.
    SpawnManyRemoteIdle,
    /// tokio's: the same while its tasks compute and yield.
    #[value(name = "spawn_many_remote_busy1")]
    SpawnManyRemoteBusy1,
    /// tokio's: the same while its tasks compute and spawn.
    #[value(name = "spawn_many_remote_busy2")]
    SpawnManyRemoteBusy2,
    /// tokio's: 200 tasks yield.
    YieldMany,
    /// tokio's: pairs of tasks and oneshot channels.
    PingPong,
    /// tokio's: each task spawns the next.
    ChainedSpawn,
}

/// Where a row's body runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// In a task; needs tasks only.
    Tasks,
    /// In a task, pinned where that is possible; needs timers or sockets.
    Io,
    /// On the main thread.
    Outside,
}

impl Row {
    /// All rows, in the order of the table.
    pub fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// Where its body runs.
    pub fn group(self) -> Group {
        match self {
            row if row <= Self::PingPongChannelPinned => Group::Tasks,
            row if row <= Self::EchoTcpMany => Group::Io,
            _ => Group::Outside,
        }
    }

    /// Whether its tasks stay on their worker.
    pub fn is_pinned(self) -> bool {
        matches!(
            self,
            Self::IdleTaskPinned
                | Self::SpawnJoinBatchPinned
                | Self::SpawnJoinOnePinned
                | Self::YieldOnePinned
                | Self::YieldThousandPinned
                | Self::PingPongChannelPinned
        )
    }

    /// Whether `peer` can do that.
    pub fn suits(self, peer: Peer) -> bool {
        match self.group() {
            Group::Tasks if self.is_pinned() => peer.can_pin(),
            Group::Tasks | Group::Outside => peer.can_share(),
            Group::Io => true,
        }
    }

    /// The benches that its figures are reported as.
    pub fn figures(self) -> Vec<String> {
        match self {
            Self::SpawnOutside | Self::EchoTcpMany => {
                ["wall", "cpu"].map(|of| format!("{self}_{of}")).to_vec()
            }
            Self::WakeIdle => ["caller", "p50", "p99"].map(|of| format!("{self}_{of}")).to_vec(),
            _ => vec![self.to_string()],
        }
    }

    /// The unit of all of its figures.
    pub fn unit(self) -> Unit {
        match self {
            Self::IdleTask | Self::IdleTaskPinned => Unit::Bytes,
            _ => Unit::Ns,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no variant is hidden");
        f.pad(value.get_name())
    }
}
