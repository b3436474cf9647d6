//! Files on the drivers that take them: a ring, and kernels that are hostile.

use std::fs;

use super::*;
use crate::driver::Shared;
use crate::fs::{File, OpenOptions};

#[test]
fn what_was_written_is_read_whatever_is_dropped_meanwhile() {
    let path = std::env::temp_dir().join(format!("spanwire-{}", std::process::id()));
    on_each_driver(|driver| {
        block_on(driver, async {
            if !Shared::current().unwrap().takes_files() {
                return;
            }
            let both = OpenOptions::new().read(true).write(true).create(true).truncate(true);
            let file = File::open_with(&path, both).await.unwrap();
            let mut expected = Vec::new();
            for piece in (0..40_u8).map(|byte| vec![byte; 100]) {
                poll_and_forget(File::open(&path)).await;
                poll_and_forget(file.read_at(Vec::with_capacity(64), 0)).await;
                driver.turn();
                let offset = expected.len() as u64;
                file.write_all_at(vec![piece.clone().into()], offset).await.unwrap();
                poll_and_forget(file.sync_data()).await;
                expected.extend(piece);
            }
            file.sync_all().await.unwrap();
            assert!(read_all(&file).await == expected);
            file.close().await.unwrap();
            assert!(fs::read(&path).unwrap() == expected);
        });
    });
    fs::remove_file(&path).unwrap();
}

async fn read_all(file: &File) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        all.reserve(1000);
        let offset = all.len() as u64;
        let (read, buf) = file.read_at(all, offset).await;
        all = buf;
        if read.unwrap() == 0 {
            return all;
        }
    }
}

/// Polls `future` once, and drops it whatever came of that.
async fn poll_and_forget<F: Future>(future: F) {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
}
