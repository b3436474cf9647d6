//! Bodies in slices of any size, read back by decoders that know nothing of how they were made.

use std::io::Read;

use flate2::read::GzDecoder;
use proptest::prelude::*;

use super::*;

const ENCODINGS: &[Encoding] = &[
    Encoding::Gzip,
    #[cfg(feature = "zstd")]
    Encoding::Zstd,
];

/// A body that compresses about as encoded telemetry does.
fn body(bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut body = Vec::with_capacity(bytes + 64);
    while body.len() < bytes {
        body.extend_from_slice(b"http.request.method\x12\x05GET  url.path");
        body.extend((0..16).map(|_| random.u8(..)));
    }
    body.truncate(bytes);
    body
}

fn compressed(compressor: &mut Compressor, slices: &[&[u8]]) -> Vec<Bytes> {
    compressor.begin(slices.iter().map(|slice| slice.len()).sum()).unwrap();
    slices.iter().for_each(|slice| compressor.feed(slice).unwrap());
    compressor.finish().unwrap()
}

/// Reads one member, or one frame, and sees to it that there is nothing behind it.
fn restored(encoding: Encoding, compressed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = compressed;
    match encoding {
        Encoding::Gzip => {
            GzDecoder::new(&mut rest).read_to_end(&mut plain).unwrap();
        }
        #[cfg(feature = "zstd")]
        Encoding::Zstd => {
            let decoder = ::zstd::stream::read::Decoder::with_buffer(&mut rest).unwrap();
            decoder.single_frame().read_to_end(&mut plain).unwrap();
        }
        #[cfg(not(feature = "zstd"))]
        Encoding::Zstd => unreachable!("not in this build"),
    }
    assert_eq!(rest, b"", "more than one member or frame");
    plain
}

#[test]
fn a_body_is_one_member_whatever_its_slices() {
    for &encoding in ENCODINGS {
        let mut compressor = Compressor::new(encoding, 1).unwrap();
        for bytes in [1, 100, PIECE_BYTES - 1, PIECE_BYTES, 5 * PIECE_BYTES + 7] {
            let body = body(bytes, bytes as u64);
            for slice_bytes in [7, 4096, usize::MAX] {
                let slices: Vec<_> = body.chunks(slice_bytes).collect();
                let pieces = compressed(&mut compressor, &slices);
                assert!(pieces.iter().all(|piece| !piece.is_empty()));
                assert!(restored(encoding, &pieces.concat()) == body, "{encoding} {bytes}");
            }
        }
    }
}

#[test]
fn a_body_that_was_given_up_leaves_nothing_in_the_next() {
    for &encoding in ENCODINGS {
        let mut compressor = Compressor::new(encoding, 1).unwrap();
        // Nothing that compresses: whole pieces of it are there when it is given up.
        let mut given_up = vec![0; 3 * PIECE_BYTES];
        fastrand::Rng::with_seed(1).fill(&mut given_up);
        compressor.begin(given_up.len() + 1).unwrap();
        compressor.feed(&given_up).unwrap();
        let body = body(10_000, 2);
        let pieces = compressed(&mut compressor, &[&body]);
        assert!(restored(encoding, &pieces.concat()) == body);
    }
}

#[test]
fn pieces_that_were_given_back_are_written_again() {
    for &encoding in ENCODINGS {
        let mut compressor = Compressor::new(encoding, 1).unwrap();
        let body = body(4 * PIECE_BYTES, 3);
        let first = compressed(&mut compressor, &[&body]);
        let addresses = |pieces: &[Bytes]| {
            let mut all: Vec<_> = pieces.iter().map(|piece| piece.as_ptr() as usize).collect();
            all.sort_unstable();
            all
        };
        let (before, held) = (addresses(&first), first[0].clone());
        first.into_iter().for_each(|piece| compressor.take_back(piece));
        // What was freed instead would be given to these.
        let others: Vec<_> = (0..8).map(|_| Vec::<u8>::with_capacity(PIECE_BYTES)).collect();
        let second = compressed(&mut compressor, &[&body]);
        let after = addresses(&second);
        // The one that somebody still reads is left alone.
        assert!(!after.contains(&(held.as_ptr() as usize)));
        assert_eq!(
            after.iter().filter(|address| before.contains(address)).count(),
            before.len() - 1
        );
        assert!(restored(encoding, &second.concat()) == body);
        drop(others);
    }
}

#[test]
fn each_level_of_each_encoding_compresses() {
    for &encoding in ENCODINGS {
        let levels = match encoding {
            Encoding::Gzip => 1..=9,
            Encoding::Zstd => 1..=19,
        };
        let body = body(20_000, 4);
        for level in levels {
            let mut compressor = Compressor::new(encoding, level).unwrap();
            let pieces = compressed(&mut compressor, &[&body]);
            assert!(pieces.iter().map(Bytes::len).sum::<usize>() < body.len() / 2);
            assert!(restored(encoding, &pieces.concat()) == body, "{encoding} {level}");
        }
    }
}

#[test]
fn slices_cost_next_to_nothing_over_the_whole_in_one_go() {
    let body = body(1 << 20, 5);
    let slices: Vec<_> = body.chunks(300).collect();
    for &encoding in ENCODINGS {
        for level in [1, 3, 6] {
            let whole = match encoding {
                Encoding::Gzip => {
                    let config = zlib_rs::DeflateConfig::new(level.into());
                    let mut room = vec![0; zlib_rs::compress_bound(body.len())];
                    zlib_rs::compress_slice(&mut room, &body, config).0.len()
                }
                #[cfg(feature = "zstd")]
                Encoding::Zstd => ::zstd::bulk::compress(&body, level.into()).unwrap().len(),
                #[cfg(not(feature = "zstd"))]
                Encoding::Zstd => unreachable!("not in this build"),
            };
            let mut compressor = Compressor::new(encoding, level).unwrap();
            let pieces = compressed(&mut compressor, &slices);
            let ours = pieces.iter().map(Bytes::len).sum::<usize>();
            assert!(ours * 100 <= whole * 105, "{encoding} {level}: {ours} and {whole}");
        }
    }
}

proptest! {
    // Each is some hundred KiB, through a compressor that is slow without optimisation.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn slices_of_any_size_come_back_as_the_body_that_they_are(
        bodies in prop::collection::vec(
            (prop::collection::vec(0..100_000_usize, 0..6), 0..150_000_usize, any::<u64>()),
            1..4,
        ),
        level in 1..=9_u8,
    ) {
        for &encoding in ENCODINGS {
            let mut compressor = Compressor::new(encoding, level).unwrap();
            for (cuts, bytes, seed) in &bodies {
                let body = body(bytes + 1, *seed);
                let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % body.len()).collect();
                cuts.extend([0, body.len()]);
                cuts.sort_unstable();
                let slices: Vec<_> = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]).collect();
                let pieces = compressed(&mut compressor, &slices);
                prop_assert!(restored(encoding, &pieces.concat()) == body);
                pieces.into_iter().for_each(|piece| compressor.take_back(piece));
            }
        }
    }
}
