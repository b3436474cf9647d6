//! What a trace looks like in the terminal, to the character.

use proptest::prelude::*;
use spanwire_bench::waterfall::{Span, Style, Trace, draw};

const PLAIN: Style = Style { width: 80, color: false };

fn span(id: u64, parent: u64, name: &str, scope: &str, times: [u64; 2]) -> Span {
    Span {
        id,
        parent,
        name: name.into(),
        service: "shop".into(),
        scope: scope.into(),
        start: 1_000_000 + times[0],
        end: 1_000_000 + times[1],
        error: None,
    }
}

fn request() -> Trace {
    let mut server = span(2, 1, "GET /cart/{id}", "demo.shop", [40_000, 320_000]);
    server.error = Some("500 Internal Server Error".into());
    // In no order, as they arrive.
    let spans = vec![
        span(4, 2, "render", "demo.shop", [300_000, 312_000]),
        server,
        span(3, 2, "db query", "demo.shop", [50_000, 150_500]),
        span(1, 0, "GET", "demo.client", [0, 400_000]),
    ];
    Trace { id: 0x4bf, spans }
}

#[test]
fn a_request_is_a_tree_with_bars_and_its_error() {
    let expected = "\
trace 000000000000000000000000000004bf  4 spans of shop, 1 error, 400 µs

                               0                  200 µs       400 µs
GET               demo.client  ██████████████████████████████████████   400 µs
└ GET /cart/{id}  demo.shop       ▐██████████████████████████▌          280 µs ✗
  │                               500 Internal Server Error
  ├ db query      demo.shop        ▐█████████▌                          100 µs
  └ render        demo.shop                                ▐█            12 µs
";
    let drawn = draw(&request(), PLAIN);
    assert_eq!(drawn, expected, "\n{drawn}");
}

#[test]
fn colour_changes_nothing_but_the_escapes() {
    let coloured = draw(&request(), Style { color: true, ..PLAIN });
    assert!(coloured.contains("\x1b[31m500 Internal Server Error\x1b[0m"), "{coloured}");
    let mut plain = coloured.replace("\x1b[31m", "").replace("\x1b[2m", "");
    plain = plain.replace("\x1b[0m", "");
    assert_eq!(plain, draw(&request(), PLAIN));
}

#[test]
fn several_services_are_named_and_long_names_are_cut() {
    let mut trace = request();
    trace.spans[3].service = "storefront".into();
    trace.spans[2].name = "SELECT name, price FROM products WHERE id = $1 FOR UPDATE".into();
    let drawn = draw(&trace, Style { width: 60, color: false });
    assert!(drawn.contains("4 spans of shop, storefront"), "{drawn}");
    assert!(drawn.contains("├ SELECT name, price"), "{drawn}");
    assert!(drawn.contains("…"), "{drawn}");
}

#[test]
fn orphans_and_circles_are_drawn_once() {
    let spans = vec![
        span(1, 9, "an orphan", "a", [0, 10]),
        span(2, 3, "one of a circle", "a", [5, 10]),
        span(3, 2, "the other", "a", [6, 10]),
        span(4, 4, "its own parent", "a", [7, 10]),
    ];
    let drawn = draw(&Trace { id: 1, spans }, PLAIN);
    for name in ["an orphan", "one of a circle", "└ the other", "its own parent"] {
        assert_eq!(drawn.matches(name).count(), 1, "{name}: {drawn}");
    }
}

#[test]
fn nothing_is_drawn_as_such() {
    assert_eq!(draw(&Trace::default(), PLAIN), "the trace has no spans\n");
}

proptest! {
    #[test]
    fn whatever_was_received_is_drawn_within_the_width(
        spans in prop::collection::vec(
            (0..8_u64, 0..8_u64, ".{0,60}", any::<u64>(), any::<u64>(), any::<Option<String>>()), 1..20),
        width in 0..200_usize,
    ) {
        let spans = spans.into_iter().map(|(id, parent, name, start, end, error)| Span {
            id, parent, name: name.clone(), service: name.clone(), scope: name, start, end, error,
        });
        let trace = Trace { id: 7, spans: spans.collect() };
        let drawn = draw(&trace, Style { width, color: false });
        for line in drawn.lines().skip(1) {
            prop_assert!(line.chars().count() <= width.max(60), "{line:?}");
        }
        prop_assert!(drawn.chars().all(|c| c == '\n' || !c.is_control()));
    }
}
