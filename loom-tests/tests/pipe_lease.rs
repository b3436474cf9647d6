//! A lease against recycling: nobody writes into bytes that somebody may still read.
#![cfg(loom)]

mod pipe;

use loom::thread;
use pipe::{check, of, pipe, put, read, take, tiny};

/// Another thread reads and drops a slice while the drainer wants its chunk back and the
/// producer wants it again.
#[test]
fn a_chunk_is_written_again_only_after_its_last_reader() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(2, 0));
        for index in 0..4 {
            put(&producer, 1, index).unwrap();
        }
        let mut runs = Vec::new();
        drainer.take_sealed(usize::MAX, &mut runs);
        let reader = thread::spawn(move || {
            let mut seen = Vec::new();
            read(&runs, &mut seen);
            assert_eq!(seen, [(1, 0), (1, 1)]);
        });
        drainer.reclaim();
        // Goes to the chunk that the reader held, or nowhere; and at once, since an append that
        // succeeds before would pass a fence, and so hide a reclaim that does not acquire.
        let recycled = put(&producer, 1, 4).is_ok();
        reader.join().unwrap();
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        assert_eq!(of(1, &seen), if recycled { vec![2, 3, 4] } else { vec![2, 3] });
    });
}

/// Two readers of two slices of the same chunk: the last one counts, whichever it is.
#[test]
fn each_of_two_readers_holds_the_chunk() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(2, 0));
        put(&producer, 1, 0).unwrap();
        put(&producer, 2, 0).unwrap();
        put(&producer, 1, 1).unwrap();
        put(&producer, 1, 2).unwrap();
        let mut runs = Vec::new();
        drainer.take_sealed(usize::MAX, &mut runs);
        assert_eq!(runs.len(), 2);
        let readers: Vec<_> = runs
            .into_iter()
            .map(|run| thread::spawn(move || read(&[run], &mut Vec::new())))
            .collect();
        drainer.reclaim();
        let recycled = put(&producer, 1, 3).is_ok();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        assert_eq!(of(1, &seen), if recycled { vec![1, 2, 3] } else { vec![1, 2] });
    });
}
