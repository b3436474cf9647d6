//! The doorbell: no wake is lost between a worker that lies down and whoever publishes work,
//! and a sleep is ended by one signal at most.
//!
//! What is published is a relaxed counter, weaker than anything that production code hides
//! behind the doorbell: only the doorbell's own fences and orderings can make it visible. A lost
//! wake is a deadlock, which loom reports. The futex is a lock and a condition here.
#![cfg(loom)]

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use spanwire_runtime::Doorbell;
use spanwire_runtime::sync::doorbell::{Bed, Button, Unpark};

#[test]
fn a_ring_is_never_lost_to_a_worker_on_its_futex() {
    loom::model(|| {
        let site = Arc::new(Site::default());
        let ringer = publish(&site, Doorbell::ring);
        site.work_until(1, Bed::Futex, Button::NONE);
        ringer.join().unwrap();
    });
}

#[test]
fn a_ring_is_never_lost_to_a_worker_in_its_driver() {
    loom::model(|| {
        let site = Arc::new(Site::default());
        site.doorbell.attach_driver(Box::new(Remote(Arc::clone(&site.driver))));
        let ringer = publish(&site, Doorbell::ring);
        site.work_until(1, Bed::Driver, Button::NONE);
        ringer.join().unwrap();
    });
}

#[test]
fn the_first_commit_is_never_lost_to_an_idle_worker() {
    loom::model(|| {
        let site = Arc::new(Site::default());
        let ringer = publish(&site, |bell| bell.ring_idle(bell.button()));
        site.work_until(1, Bed::Futex, Button::ALL);
        ringer.join().unwrap();
    });
}

/// A late ringer that saw an earlier sleep may set its mark between two sleeps, where the next
/// one wipes it out: the worker has to see its work then.
#[test]
fn two_rings_over_several_sleeps_are_both_heard() {
    loom::model(|| {
        let site = Arc::new(Site::default());
        let ringers = [publish(&site, Doorbell::ring), publish(&site, Doorbell::ring)];
        site.work_until(2, Bed::Futex, Button::NONE);
        for ringer in ringers {
            ringer.join().unwrap();
        }
    });
}

#[test]
fn a_sleep_is_ended_by_one_signal_at_most() {
    loom::model(|| {
        let site = Arc::new(Site::default());
        site.doorbell.attach_driver(Box::new(Remote(Arc::clone(&site.driver))));
        let ringers = [publish(&site, Doorbell::ring), publish(&site, Doorbell::ring)];
        let sleeps = site.work_until(2, Bed::Driver, Button::NONE);
        for ringer in ringers {
            ringer.join().unwrap();
        }
        let signals = site.driver.signals.load(Ordering::Relaxed);
        assert!(signals <= sleeps, "{signals} signals for {sleeps} sleeps");
    });
}

/// Under load a commit costs its caller no more than a fence and a load.
#[test]
fn a_dozing_worker_is_left_alone_by_commits() {
    loom::model(|| {
        let site = Arc::new(Site::default());
        site.doorbell.lie_down(Bed::Futex, Button::NONE);
        let ringer = publish(&site, |bell| bell.ring_idle(bell.button()));
        ringer.join().unwrap();
        assert!(!site.doorbell.get_up());
    });
}

/// A doorbell with something to publish.
struct Site {
    doorbell: Doorbell,
    work: AtomicUsize,
    driver: Arc<Driver>,
}

impl Default for Site {
    fn default() -> Self {
        let driver = Arc::new(Driver {
            unparked: Mutex::new(false),
            changed: Condvar::new(),
            signals: AtomicUsize::new(0),
        });
        Self { doorbell: Doorbell::new(), work: AtomicUsize::new(0), driver }
    }
}

/// Publishes one piece of work on a thread of its own, then rings.
fn publish(site: &Arc<Site>, ring: fn(&Doorbell)) -> thread::JoinHandle<()> {
    let site = Arc::clone(site);
    thread::spawn(move || {
        site.work.fetch_add(1, Ordering::Relaxed);
        ring(&site.doorbell);
    })
}

impl Site {
    /// The worker: sleeps until all `work` is there. Returns how often it lay down.
    fn work_until(&self, work: usize, bed: Bed, idle: Button) -> usize {
        let mut sleeps = 0;
        loop {
            let seen = self.work.load(Ordering::Relaxed);
            if seen == work {
                return sleeps;
            }
            sleeps += 1;
            self.doorbell.lie_down(bed, idle);
            if self.work.load(Ordering::Relaxed) == seen {
                self.sleep(bed);
            }
            self.doorbell.get_up();
        }
    }

    fn sleep(&self, bed: Bed) {
        match bed {
            Bed::Futex => self.doorbell.sleep(None),
            Bed::Driver => self.driver.park(),
        }
    }
}

/// A driver that holds one token, as an eventfd does.
struct Driver {
    unparked: Mutex<bool>,
    changed: Condvar,
    signals: AtomicUsize,
}

impl Driver {
    fn park(&self) {
        let mut unparked = self.unparked.lock().unwrap();
        while !*unparked {
            unparked = self.changed.wait(unparked).unwrap();
        }
        *unparked = false;
    }
}

/// Ends the driver's wait.
struct Remote(Arc<Driver>);

impl Unpark for Remote {
    fn unpark(&self) {
        self.0.signals.fetch_add(1, Ordering::Relaxed);
        *self.0.unparked.lock().unwrap() = true;
        self.0.changed.notify_one();
    }
}
