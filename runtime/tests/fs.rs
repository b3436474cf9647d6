//! Files: whatever a program does with them, it sees what the standard library would have shown.
#![cfg(target_os = "linux")]

#[path = "support/scratch.rs"]
mod scratch;

use std::collections::BTreeMap;
use std::fs as std_fs;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;
use scratch::Scratch;
use spanwire_runtime::driver::Choice;
use spanwire_runtime::fs::{self, File, OpenOptions};
use spanwire_runtime::{Builder, Runtime};

/// Runs `work` in a pinned task, with each driver that there is.
fn on_each_driver<M, F>(work: M)
where
    M: FnOnce() -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    for choice in [Choice::Auto, Choice::Epoll] {
        run(&Builder::new().io(choice).build().unwrap(), work.clone());
    }
}

fn run<M, F>(runtime: &Runtime, work: M) -> F::Output
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send,
{
    runtime.block_on(runtime.spawn_pinned(work)).unwrap()
}

/// One step of a program that works with four names and the files it has open.
#[derive(Clone, Debug)]
enum Step {
    Open { name: u8, options: OpenOptions },
    Read { file: usize, offset: u64, room: usize },
    Write { file: usize, offset: u64, pieces: Vec<Vec<u8>> },
    WriteAll { file: usize, offset: u64, pieces: Vec<Vec<u8>> },
    Sync { file: usize, data_only: bool },
    SetLen { file: usize, length: u64 },
    Len { file: usize },
    Close { file: usize },
    Rename { from: u8, to: u8 },
    Remove { name: u8 },
    SyncDir,
}

fn step() -> impl Strategy<Value = Step> {
    let (file, name) = (0..4_usize, 0..4_u8);
    let offset = prop_oneof![8 => 0..5_000_u64, 1 => Just(u64::MAX), 1 => Just(1 << 63)];
    let pieces = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..5);
    let write = (file.clone(), offset.clone(), pieces);
    prop_oneof![
        4 => (name.clone(), options()).prop_map(|(name, options)| Step::Open { name, options }),
        4 => (file.clone(), offset, 0..3_000_usize)
            .prop_map(|(file, offset, room)| Step::Read { file, offset, room }),
        3 => write.clone()
            .prop_map(|(file, offset, pieces)| Step::Write { file, offset, pieces }),
        3 => write.prop_map(|(file, offset, pieces)| Step::WriteAll { file, offset, pieces }),
        1 => (file.clone(), any::<bool>())
            .prop_map(|(file, data_only)| Step::Sync { file, data_only }),
        1 => (file.clone(), 0..5_000_u64).prop_map(|(file, length)| Step::SetLen { file, length }),
        1 => file.clone().prop_map(|file| Step::Len { file }),
        1 => file.prop_map(|file| Step::Close { file }),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => name.prop_map(|name| Step::Remove { name }),
        1 => Just(Step::SyncDir),
    ]
}

fn options() -> impl Strategy<Value = OpenOptions> {
    // Mostly something that works.
    let any = any::<[bool; 5]>().prop_map(|[read, write, create, create_new, truncate]| {
        let options = OpenOptions::new().read(read).write(write).create(create);
        options.create_new(create_new).truncate(truncate)
    });
    let both = OpenOptions::new().read(true).write(true).create(true);
    prop_oneof![2 => Just(both), 1 => Just(both.truncate(true)), 2 => any]
}

/// What a step has shown: a number, perhaps bytes, or the kind of an error.
type Shown = Result<(u64, Vec<u8>), ErrorKind>;

fn shown<T: Into<u64>>(result: io::Result<T>) -> Shown {
    result.map(|number| (number.into(), Vec::new())).map_err(|error| error.kind())
}

fn nothing(result: io::Result<()>) -> Shown {
    shown(result.map(|()| 0_u64))
}

fn name_in(dir: &Path, name: u8) -> PathBuf {
    dir.join(format!("file-{name}"))
}

/// The program on this runtime.
async fn ours(dir: PathBuf, steps: Vec<Step>) -> Vec<Shown> {
    let (mut open, mut all) = (BTreeMap::new(), Vec::new());
    for step in steps {
        all.push(our_step(&dir, &mut open, step).await);
    }
    all
}

async fn our_step(dir: &Path, open: &mut BTreeMap<usize, File>, step: Step) -> Shown {
    match step {
        Step::Open { name, options } => {
            let file = File::open_with(name_in(dir, name), options).await;
            nothing(file.map(|file| drop(open.insert(open.len() % 4, file))))
        }
        Step::Rename { from, to } => {
            nothing(fs::rename(name_in(dir, from), name_in(dir, to)).await)
        }
        Step::Remove { name } => nothing(fs::remove_file(name_in(dir, name)).await),
        Step::SyncDir => nothing(fs::sync_dir(dir).await),
        Step::Close { file } => match open.remove(&file) {
            Some(file) => nothing(file.close().await),
            None => Err(ErrorKind::Other),
        },
        Step::Read { file, .. }
        | Step::Write { file, .. }
        | Step::WriteAll { file, .. }
        | Step::Sync { file, .. }
        | Step::SetLen { file, .. }
        | Step::Len { file } => match open.get(&file) {
            Some(file) => on_our_file(file, step).await,
            None => Err(ErrorKind::Other),
        },
    }
}

async fn on_our_file(file: &File, step: Step) -> Shown {
    match step {
        Step::Read { offset, room, .. } => {
            let mut buf = Vec::with_capacity(room + 3);
            buf.extend_from_slice(b"abc");
            buf.shrink_to(room + 3);
            let (read, mut buf) = file.read_at(buf, offset).await;
            assert_eq!(buf.drain(..3).as_slice(), b"abc", "what was there is there still");
            read.map(|count| (count as u64, buf)).map_err(|error| error.kind())
        }
        Step::Write { offset, pieces, .. } => {
            let bufs: Vec<_> = pieces.into_iter().map(Bytes::from).collect();
            let (written, back) = file.write_at(bufs.clone(), offset).await;
            assert_eq!(back, bufs, "the buffers come back");
            shown(written.map(|count| count as u64))
        }
        Step::WriteAll { offset, pieces, .. } => {
            let bufs = pieces.into_iter().map(Bytes::from).collect();
            nothing(file.write_all_at(bufs, offset).await)
        }
        Step::Sync { data_only: true, .. } => nothing(file.sync_data().await),
        Step::Sync { .. } => nothing(file.sync_all().await),
        Step::SetLen { length, .. } => nothing(file.set_len(length).await),
        _ => shown(file.len()),
    }
}

/// The same program on the standard library.
fn theirs(dir: &Path, steps: &[Step]) -> Vec<Shown> {
    let mut open = BTreeMap::new();
    steps.iter().map(|step| their_step(dir, &mut open, step)).collect()
}

fn their_step(dir: &Path, open: &mut BTreeMap<usize, std_fs::File>, step: &Step) -> Shown {
    match step {
        Step::Open { name, options } => {
            let file = of_std(options).open(name_in(dir, *name));
            nothing(file.map(|file| drop(open.insert(open.len() % 4, file))))
        }
        Step::Rename { from, to } => {
            nothing(std_fs::rename(name_in(dir, *from), name_in(dir, *to)))
        }
        Step::Remove { name } => nothing(std_fs::remove_file(name_in(dir, *name))),
        Step::SyncDir => Ok((0, Vec::new())),
        Step::Close { file } => match open.remove(file) {
            Some(_closed) => Ok((0, Vec::new())),
            None => Err(ErrorKind::Other),
        },
        Step::Read { file, .. }
        | Step::Write { file, .. }
        | Step::WriteAll { file, .. }
        | Step::Sync { file, .. }
        | Step::SetLen { file, .. }
        | Step::Len { file } => match open.get(file) {
            Some(file) => on_their_file(file, step),
            None => Err(ErrorKind::Other),
        },
    }
}

fn on_their_file(mut file: &std_fs::File, step: &Step) -> Shown {
    use std::io::{Read, Seek, SeekFrom, Write};
    let mut at = |offset: &u64| file.seek(SeekFrom::Start(*offset)).map_err(|error| error.kind());
    match step {
        Step::Read { room: 0, .. } => Err(ErrorKind::InvalidInput),
        Step::Read { offset, room, .. } => {
            at(offset)?;
            let mut buf = vec![0; *room];
            let read = file.read(&mut buf).map_err(|error| error.kind())?;
            buf.truncate(read);
            Ok((read as u64, buf))
        }
        Step::Write { pieces, .. } | Step::WriteAll { pieces, .. }
            if pieces.iter().all(Vec::is_empty) =>
        {
            Ok((0, Vec::new()))
        }
        Step::Write { offset, pieces, .. } => {
            at(offset)?;
            shown(file.write(&pieces.concat()).map(|count| count as u64))
        }
        Step::WriteAll { offset, pieces, .. } => {
            at(offset)?;
            nothing(file.write_all(&pieces.concat()))
        }
        Step::SetLen { length, .. } => nothing(file.set_len(*length)),
        Step::Len { .. } => shown(file.metadata().map(|metadata| metadata.len())),
        _ => nothing(file.sync_all()),
    }
}

/// The fields have no readers, so they are read off their names.
fn of_std(options: &OpenOptions) -> std_fs::OpenOptions {
    let text = format!("{options:?}");
    let has = |setting: &str| text.contains(&format!("{setting}: true"));
    let mut all = std_fs::OpenOptions::new();
    all.read(has(" read")).write(has(" write")).create(has(" create"));
    all.create_new(has(" create_new")).truncate(has(" truncate"));
    all
}

/// All that is in a directory.
fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std_fs::read_dir(dir).unwrap().map(Result::unwrap);
    let read = |entry: std_fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), std_fs::read(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

fn same_as_std(choice: Choice) {
    let runtime = Builder::new().io(choice).build().unwrap();
    let programs = prop::collection::vec(step(), 1..40);
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) }, |(steps in programs)| {
        let (our, their) = (Scratch::new(), Scratch::new());
        let (dir, program) = (our.path().to_owned(), steps.clone());
        let we_saw = run(&runtime, move || ours(dir, program));
        prop_assert_eq!(we_saw, theirs(their.path(), &steps));
        prop_assert_eq!(content(our.path()), content(their.path()));
    });
}

#[test]
fn a_ring_does_with_files_what_the_standard_library_does() {
    same_as_std(Choice::Auto);
}

#[test]
fn the_pool_does_with_files_what_the_standard_library_does() {
    same_as_std(Choice::Epoll);
}

#[test]
fn more_buffers_than_one_call_takes_are_written_in_order() {
    on_each_driver(|| async {
        let dir = Scratch::new();
        let file = File::create(dir.path().join("many")).await.unwrap();
        let bufs: Vec<_> =
            (0..3_000_u32).map(|n| Bytes::copy_from_slice(&n.to_be_bytes())).collect();
        file.write_all_at(bufs.clone(), 7).await.unwrap();
        let written = std_fs::read(dir.path().join("many")).unwrap();
        assert_eq!(written[..7], [0; 7]);
        assert_eq!(written[7..], bufs.concat());
    });
}

#[test]
fn a_file_is_closed_on_exec_and_has_the_mode_that_was_asked_for() {
    on_each_driver(|| async {
        let dir = Scratch::new();
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600);
        let _file = File::open_with(dir.path().join("private"), options).await.unwrap();
        let metadata = std_fs::metadata(dir.path().join("private")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600);
        let mode_line = |fd: &str| std_fs::read_to_string(format!("/proc/self/fdinfo/{fd}"));
        let names = std_fs::read_dir("/proc/self/fd").unwrap().map(Result::unwrap);
        let target = dir.path().join("private").canonicalize().unwrap();
        let ours = names.filter(|fd| std_fs::read_link(fd.path()).is_ok_and(|to| to == target));
        let flags: Vec<_> =
            ours.map(|fd| mode_line(fd.file_name().to_str().unwrap()).unwrap()).collect();
        let flags = flags[0].lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = i32::from_str_radix(flags, 8).unwrap();
        assert_ne!(flags & libc::O_CLOEXEC, 0, "{flags:o}");
    });
}

#[test]
fn what_cannot_work_is_refused_with_its_reason_and_the_buffer() {
    on_each_driver(|| async {
        let dir = Scratch::new();
        let text = |error: io::Error| (error.kind(), error.to_string());
        let (kind, why) = text(File::open(dir.path().join("nul\0")).await.unwrap_err());
        assert!(kind == ErrorKind::InvalidInput && why.contains("nul\\0"), "{why}");
        let bad = File::open_with(dir.path(), OpenOptions::new().create(true)).await;
        assert_eq!(bad.unwrap_err().kind(), ErrorKind::InvalidInput);
        let file = File::create(dir.path().join("file")).await.unwrap();
        let (full, buf) = file.read_at(vec![1], 0).await;
        assert!(full.unwrap_err().to_string().contains("full"));
        assert_eq!(buf, [1]);
        let (unreadable, buf) = file.read_at(Vec::with_capacity(64), 0).await;
        assert_eq!(unreadable.unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(buf.capacity(), 64);
    });
}

#[test]
fn off_a_worker_files_are_an_error_and_not_a_panic() {
    let runtime = Builder::new().build().unwrap();
    let error = runtime.block_on(File::open("/dev/null")).unwrap_err();
    assert!(error.to_string().contains("spawn_pinned"), "{error}");
    assert!(runtime.block_on(fs::sync_dir("/")).is_err());
    assert!(runtime.block_on(fs::remove_file("/nobody/has/this")).is_err());
}

#[test]
fn a_file_that_outlives_its_worker_says_so() {
    for choice in [Choice::Auto, Choice::Epoll] {
        let runtime = Builder::new().io(choice).build().unwrap();
        // A thread of the runtime's is no worker once the runtime has ended; the file stays there.
        let (told, heard) = std::sync::mpsc::channel();
        let task = runtime.spawn_pinned(move || async move {
            let file = File::open("/dev/null").await.unwrap();
            LEFT.set(Some(Left(file, told)));
        });
        runtime.block_on(task).unwrap();
        drop(runtime);
        let said: String = heard.recv().unwrap();
        assert!(said.contains("shut down"), "{said}");
    }
}

/// What is dropped when the worker's thread ends, after its driver.
struct Left(File, std::sync::mpsc::Sender<String>);

impl Drop for Left {
    fn drop(&mut self) {
        let mut read = std::pin::pin!(self.0.read_at(Vec::with_capacity(1), 0));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        if let std::task::Poll::Ready((Err(error), _)) = read.as_mut().poll(&mut context) {
            let _ = self.1.send(error.to_string());
        }
    }
}

thread_local! {
    static LEFT: std::cell::RefCell<Option<Left>> = const { std::cell::RefCell::new(None) };
}
