//! Readers while generations come and go.

use std::sync::atomic::{AtomicBool, Ordering};

use nolapse::core::layout::{CURRENT, discard_generation, install};
use nolapse::core::spec::Part;
use nolapse::sys::disk::Disk;

use crate::scratch::scratch;
use crate::story::{MOST, NAME, rights, run, texts};

/// Renewals while others read; the numbers 1 to 4 come round.
const RENEWALS: u64 = 200;

#[test]
fn f03_readers_never_see_a_mixed_generation() {
    let live = scratch();
    let dir = live.path().join(NAME);
    let disk = Disk::real();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(run(&disk, &install(&dir, 1, &texts(1), &rights())));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers = [
            // A program with one file.
            scope.spawn(|| {
                let mut reads = 0u64;
                loop {
                    // Whoever sleeps on the way through the links, while renewals follow each other
                    // without a pause, comes to a place that was pruned; the way is open again at once.
                    let read = || disk.read(&dir.join("combined.pem"), MOST);
                    let combined = read().or_else(|_| read()).or_else(|_| read());
                    let combined = combined.expect("there is always one");
                    assert!((1..=4).any(|number| texts(number)[&Part::Combined] == combined));
                    reads += 1;
                    // After the reading: who gets no time before the end still reads once.
                    if stop.load(Ordering::Relaxed) {
                        break reads;
                    }
                }
            }),
            // A program that looks the generation up once, then reads the pair in it.
            scope.spawn(|| {
                let mut reads = 0u64;
                loop {
                    let generation =
                        dir.join(disk.read_link(&dir.join(CURRENT)).expect("there is always one"));
                    let read = |part: Part| disk.read(&generation.join(part.file_name()), MOST);
                    // It may be pruned in between: retention keeps the previous one, and a reader
                    // has fallen two renewals behind then.
                    let (Ok(chain), Ok(key)) = (read(Part::Fullchain), read(Part::Privkey)) else { continue };
                    assert!((1..=4).any(|number| {
                        texts(number)[&Part::Fullchain] == chain && texts(number)[&Part::Privkey] == key
                    }));
                    reads += 1;
                    // After the reading: who gets no time before the end still reads once.
                    if stop.load(Ordering::Relaxed) {
                        break reads;
                    }
                }
            }),
        ];
        for round in 1..RENEWALS {
            let number = round % 4 + 1;
            let mut plan = install(&dir, number, &texts(number), &rights());
            // Retention: the current and the previous one stay.
            plan.extend(discard_generation(&dir, (number + 1) % 4 + 1));
            runtime.block_on(run(&disk, &plan));
        }
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0, "nothing was read");
        }
    });
}
