//! The scopes that a thread used last, so that a record costs no look-up in the registry.

use std::cell::RefCell;

use opentelemetry::InstrumentationScope;
use spanwire_runtime::buf::Cursor;
use spanwire_runtime::pipe::Tag;

use super::scope::encode_named_scope;
use crate::pipeline::door::Entry;

/// Appends a record of `scope`, which is called `name` here, to those of a door.
///
/// A log record's target takes the place of the scope's name, as in opentelemetry-proto: a bridge
/// from another logging library has one scope for all targets of a program.
#[inline]
pub(crate) fn append(
    entry: Entry<'_>,
    scope: &InstrumentationScope,
    name: &str,
    encode: impl FnMut(&mut Cursor<'_>),
) {
    match tag(entry, scope, name) {
        Ok(tag) => entry.append(tag, encode),
        Err(Reentrant) => entry.refuse_reentrant(),
    }
}

/// This thread is about to look a scope up: an instrumented allocator ended the record. Looking
/// up another would meet the registry's lock, which this thread may have.
struct Reentrant;

/// The tag of a scope: from this thread's cache if it is one of the last that it used, which
/// costs no allocation and no lock.
#[inline]
fn tag(
    entry: Entry<'_>,
    scope: &InstrumentationScope,
    name: &str,
) -> Result<Option<Tag>, Reentrant> {
    let look_up = || entry.tag(encode_named_scope(scope, name, entry.limits()));
    let known = SCOPES.try_with(|scopes| {
        let mut scopes = scopes.try_borrow_mut().map_err(|_| Reentrant)?;
        Ok(scopes.tag(entry.id(), scope, name, look_up))
    });
    // The cache is gone if the thread ends its very last records.
    known.unwrap_or_else(|_| Ok(look_up()))
}

/// What a thread remembers.
struct Scopes {
    known: Vec<KnownScope>,
    /// Index of the one that was used last, which is often the next one too.
    last: usize,
    /// Index of the one that goes for a new one once there are [`SCOPES_MAX`].
    oldest: usize,
}

struct KnownScope {
    door: u64,
    name: Box<str>,
    /// Its own name does not count.
    scope: InstrumentationScope,
    tag: Tag,
}

/// Scopes that a thread remembers: the libraries that a request passes through and the modules
/// that log on the way, with room. They take some 250 bytes each.
const SCOPES_MAX: usize = 64;

impl Scopes {
    const NONE: Self = Self { known: Vec::new(), last: 0, oldest: 0 };

    #[inline]
    fn tag(
        &mut self,
        door: u64,
        scope: &InstrumentationScope,
        name: &str,
        look_up: impl FnOnce() -> Option<Tag>,
    ) -> Option<Tag> {
        match self.known.get(self.last) {
            Some(last) if last.is(door, scope, name) => Some(last.tag),
            _ => self.search(door, scope, name, look_up),
        }
    }

    fn search(
        &mut self,
        door: u64,
        scope: &InstrumentationScope,
        name: &str,
        look_up: impl FnOnce() -> Option<Tag>,
    ) -> Option<Tag> {
        if let Some(at) = self.known.iter().position(|known| known.is(door, scope, name)) {
            self.last = at;
            return Some(self.known[at].tag);
        }
        let tag = look_up()?;
        self.remember(KnownScope { door, name: name.into(), scope: scope.clone(), tag });
        Some(tag)
    }

    fn remember(&mut self, scope: KnownScope) {
        if self.known.len() < SCOPES_MAX {
            self.last = self.known.len();
            self.known.push(scope);
        } else {
            self.last = self.oldest;
            self.known[self.oldest] = scope;
            self.oldest = (self.oldest + 1) % SCOPES_MAX;
        }
    }
}

impl KnownScope {
    /// Compares the full identity: name, version, schema url and attributes. (The `==` of scopes
    /// allocates to sort the attributes; those of one place in a program are in one order.)
    #[inline]
    fn is(&self, door: u64, scope: &InstrumentationScope, name: &str) -> bool {
        self.door == door
            && *self.name == *name
            && self.scope.version() == scope.version()
            && self.scope.schema_url() == scope.schema_url()
            && self.scope.attributes().eq(scope.attributes())
    }
}

thread_local! {
    static SCOPES: RefCell<Scopes> = const { RefCell::new(Scopes::NONE) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::Exporter;
    use crate::model::Signal;
    use crate::pipeline::door::Door;
    use opentelemetry::KeyValue;

    fn scopes() -> Vec<(InstrumentationScope, &'static str)> {
        let plain = || InstrumentationScope::builder("bridge");
        let attributes = |value: i64| [KeyValue::new("key", value)];
        vec![
            (plain().build(), "bridge"),
            (plain().build(), "target"),
            (plain().with_version("1").build(), "target"),
            (plain().with_version("2").build(), "target"),
            (plain().with_schema_url("1").build(), "target"),
            (plain().with_attributes(attributes(1)).build(), "target"),
            (plain().with_attributes(attributes(2)).build(), "target"),
        ]
    }

    /// opentelemetry-dotnet #7636, #7643: scopes were told apart by their names alone, so one
    /// version's records came out under another.
    #[test]
    fn a_scope_is_known_by_its_whole_identity_and_its_door() {
        let mut known = Scopes::NONE;
        let mut looked_up = 0;
        let mut tag = |door: u64, (scope, name): &(InstrumentationScope, &str)| {
            let look_up = || {
                looked_up += 1;
                Some(Tag::new(door as u32, looked_up))
            };
            known.tag(door, scope, name, look_up).unwrap()
        };
        let doors = [0, 1];
        let all = || doors.iter().flat_map(|door| scopes().into_iter().map(move |s| (*door, s)));
        let first: Vec<Tag> = all().map(|(door, scope)| tag(door, &scope)).collect();
        let again: Vec<Tag> = all().map(|(door, scope)| tag(door, &scope)).collect();
        assert_eq!(first, again);
        assert_eq!(looked_up as usize, doors.len() * scopes().len());
    }

    #[test]
    fn a_scope_that_another_bridge_names_alike_is_the_same() {
        let mut known = Scopes::NONE;
        let bridges = ["a", "b"].map(|name| InstrumentationScope::builder(name).build());
        let tag = Tag::new(1, 2);
        assert_eq!(known.tag(0, &bridges[0], "target", || Some(tag)), Some(tag));
        assert_eq!(known.tag(0, &bridges[1], "target", || None), Some(tag));
    }

    #[test]
    fn a_thread_remembers_the_last_scopes_and_no_more() {
        let mut known = Scopes::NONE;
        let scope = InstrumentationScope::default();
        let mut misses = 0;
        let mut use_scope = |index: usize| {
            let tag = Tag::new(0, index as u32);
            let found = known.tag(0, &scope, &index.to_string(), || {
                misses += 1;
                Some(tag)
            });
            assert_eq!(found, Some(tag));
        };
        (0..SCOPES_MAX + 10).for_each(&mut use_scope);
        // The ten newest took the places of the ten oldest.
        (10..SCOPES_MAX + 10).for_each(&mut use_scope);
        assert_eq!(misses, SCOPES_MAX + 10);
        assert_eq!(known.known.len(), SCOPES_MAX);
    }

    #[test]
    fn what_is_refused_is_asked_again() {
        let mut known = Scopes::NONE;
        let scope = InstrumentationScope::default();
        assert_eq!(known.tag(0, &scope, "", || None), None);
        let tag = Tag::new(0, 0);
        assert_eq!(known.tag(0, &scope, "", || Some(tag)), Some(tag));
    }

    #[test]
    fn a_record_that_ends_while_its_thread_looks_a_scope_up_is_refused_and_counted() {
        let exporter = Exporter::builder().env_from(|_| None).build().unwrap();
        let door = Door::open(exporter.home(), Signal::Logs);
        let scope = InstrumentationScope::default();
        SCOPES.with_borrow_mut(|_| {
            append(door.enter().unwrap(), &scope, "", |_| panic!("nothing is encoded"))
        });
        let stats = exporter.stats();
        assert_eq!((stats.logs.emitted, stats.logs.dropped.reentrant), (1, 1));
        assert_eq!(stats.accounted_for(), 1);
        exporter.shutdown(std::time::Duration::from_secs(60)).unwrap();
    }
}
