//! What a ring has to do for a call that works on files.

use std::fs::File;
use std::os::fd::AsRawFd;

use io_uring::squeue::Entry;
use io_uring::{opcode, types};
use types::{Fd, FsyncFlags};

use crate::driver::op::file::{Call, OpenOptions};
use crate::driver::op::{self};

/// All pointers lead into the operation's box or into what it owns.
pub(super) fn entry(file: &mut op::File) -> Entry {
    let op::File { call, names, vectors } = file;
    match call {
        Call::Open { options, .. } => opcode::OpenAt::new(HERE, names[0].as_ptr())
            .flags(flags(options))
            .mode(options.mode)
            .build(),
        Call::Read { file, buf, offset } => {
            let length = u32::try_from(op::spare(buf)).unwrap_or(u32::MAX);
            opcode::Read::new(fd(file), op::spare_ptr(buf), length).offset(*offset).build()
        }
        Call::Write { file, offset, .. } => {
            let count = u32::try_from(vectors.len()).unwrap_or(u32::MAX);
            // On unix an `IoSlice` is an `iovec`, says its documentation.
            opcode::Writev::new(fd(file), vectors.as_ptr().cast(), count).offset(*offset).build()
        }
        Call::Sync { file, data_only } => {
            let flags = if *data_only { FsyncFlags::DATASYNC } else { FsyncFlags::empty() };
            opcode::Fsync::new(fd(file)).flags(flags).build()
        }
        Call::Rename { .. } => {
            opcode::RenameAt::new(HERE, names[0].as_ptr(), HERE, names[1].as_ptr()).build()
        }
        Call::Close { file } => opcode::Close::new(file.as_ref().map_or(Fd(-1), fd)).build(),
    }
}

fn fd(file: &File) -> Fd {
    Fd(file.as_raw_fd())
}

fn flags(options: &OpenOptions) -> i32 {
    let access = match (options.read, options.write) {
        (true, true) => libc::O_RDWR,
        (false, true) => libc::O_WRONLY,
        _ => libc::O_RDONLY,
    };
    let or = |yes: bool, flag: i32| if yes { flag } else { 0 };
    access
        | libc::O_CLOEXEC
        | or(options.create, libc::O_CREAT)
        | or(options.create_new, libc::O_CREAT | libc::O_EXCL)
        // With `create_new` there is nothing to be emptied.
        | or(options.truncate && !options.create_new, libc::O_TRUNC)
}

/// All that files need of the ring; closing is among the others.
pub(super) const OPCODES: [u8; 5] = [
    opcode::OpenAt::CODE,
    opcode::Read::CODE,
    opcode::Writev::CODE,
    opcode::Fsync::CODE,
    opcode::RenameAt::CODE,
];

/// Relative paths begin at the process's directory.
const HERE: Fd = Fd(libc::AT_FDCWD);
