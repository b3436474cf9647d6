//! Valid OTLP requests out of arbitrary bytes, as unusual as protobuf allows: fields in any order
//! and again, messages that are split, padded varints, lists that are packed or not or both,
//! unknown fields and groups. What messages there are is read from the descriptors that
//! opentelemetry-proto ships, so none of our tables takes part.

use std::collections::HashMap;

use spanwire::Signal;
use spanwire::wire::{Fields, Value};

/// The fields of each message, by its full name.
pub(crate) struct Schema(HashMap<String, Vec<Field>>);

struct Field {
    number: u32,
    is_repeated: bool,
    /// `FieldDescriptorProto.Type`.
    kind: u64,
    /// Of a message.
    message: String,
}

impl Schema {
    pub(crate) fn new() -> Self {
        let mut messages = HashMap::new();
        for file in children(opentelemetry_proto::DESCRIPTORS, 1) {
            let package = format!(".{}", text(file, 2));
            children(file, 4).for_each(|message| add(&mut messages, &package, message));
        }
        Self(messages)
    }

    /// A request of this signal. `entropy` decides everything.
    pub(crate) fn request_of(&self, signal: Signal, entropy: &[u8]) -> Vec<u8> {
        let request = match signal {
            Signal::Traces => "trace.v1.ExportTraceServiceRequest",
            Signal::Logs => "logs.v1.ExportLogsServiceRequest",
            _ => "metrics.v1.ExportMetricsServiceRequest",
        };
        let root = format!(".opentelemetry.proto.collector.{request}");
        let mut writer = Writer { schema: self, entropy, out: Vec::new() };
        while !writer.entropy.is_empty() {
            writer.field(&root, 0);
        }
        writer.out
    }
}

fn add(messages: &mut HashMap<String, Vec<Field>>, parent: &str, message: &[u8]) {
    let name = format!("{parent}.{}", text(message, 1));
    let fields = children(message, 2).map(|field| Field {
        number: varint(field, 3) as u32,
        is_repeated: varint(field, 4) == 3,
        kind: varint(field, 5),
        message: children(field, 6).next().map(|_| text(field, 6)).unwrap_or_default(),
    });
    messages.insert(name.clone(), fields.collect());
    children(message, 3).for_each(|nested| add(messages, &name, nested));
}

struct Writer<'s, 'e> {
    schema: &'s Schema,
    entropy: &'e [u8],
    out: Vec<u8>,
}

impl Writer<'_, '_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.entropy.split_first() else { return 0 };
        self.entropy = rest;
        byte
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    fn fields(&mut self, message: &str, depth: usize) {
        for _ in 0..self.below(7) {
            self.field(message, depth);
        }
    }

    fn field(&mut self, message: &str, depth: usize) {
        let fields = &self.schema.0[message];
        let choice = self.byte();
        if choice > 250 {
            return self.unknown();
        }
        let field = &fields[usize::from(choice) % fields.len()];
        if field.is_repeated && field.kind != MESSAGE && field.kind != STRING && self.below(4) > 0 {
            return self.packed(field);
        }
        match field.kind {
            MESSAGE => {
                self.key(field.number, 2);
                // Containers and recursive values, both with an end.
                let depth = depth + 1;
                self.nested(|writer| {
                    if depth < 30 {
                        writer.fields(&field.message, depth);
                    }
                });
            }
            STRING => {
                let text = TEXTS[self.below(TEXTS.len())];
                self.key(field.number, 2);
                self.nested(|writer| writer.out.extend_from_slice(text.as_bytes()));
            }
            BYTES => {
                let len = [0, 1, 2, 3, 8, 16, 17][self.below(7)];
                self.key(field.number, 2);
                self.nested(|writer| {
                    (0..len).for_each(|_| {
                        let byte = writer.byte();
                        writer.out.push(byte);
                    })
                });
            }
            DOUBLE | FIXED64 | SFIXED64 => {
                self.key(field.number, 1);
                self.fixed64(field.kind);
            }
            FIXED32 => {
                let value = self.number() as u32;
                self.key(field.number, 5);
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            _ => {
                let value = self.number();
                self.key(field.number, 0);
                self.varint(value, 10);
            }
        }
    }

    fn packed(&mut self, field: &Field) {
        self.key(field.number, 2);
        self.nested(|writer| {
            for _ in 0..writer.below(5) {
                match field.kind {
                    DOUBLE | FIXED64 | SFIXED64 => writer.fixed64(field.kind),
                    _ => {
                        let value = writer.number();
                        writer.varint(value, 10);
                    }
                }
            }
        });
    }

    fn unknown(&mut self) {
        let number = [19, 100, 1000, 0x1fff_ffff][self.below(4)];
        match self.below(5) {
            0 => {
                self.key(number, 0);
                self.varint(u64::MAX, 10);
            }
            1 => {
                self.key(number, 1);
                self.out.extend_from_slice(&[7; 8]);
            }
            2 => {
                self.key(number, 2);
                self.nested(|writer| writer.out.extend_from_slice(&[0xff; 5]));
            }
            3 => {
                self.key(number, 5);
                self.out.extend_from_slice(&[7; 4]);
            }
            _ => {
                self.key(number, 3);
                self.out.extend_from_slice(&[0x0a, 1, 0xff, 0x0b, 0x08, 5, 0x0c]);
                self.key(number, 4);
            }
        }
    }

    fn nested(&mut self, fill: impl FnOnce(&mut Self)) {
        let outer = std::mem::take(&mut self.out);
        fill(self);
        let inner = std::mem::replace(&mut self.out, outer);
        self.varint(inner.len() as u64, 10);
        self.out.extend_from_slice(&inner);
    }

    fn key(&mut self, number: u32, wire: u32) {
        self.varint(u64::from(number << 3 | wire), 5);
    }

    /// Seldom padded, and never beyond `len_max` bytes.
    fn varint(&mut self, mut value: u64, len_max: usize) {
        let padding = if self.byte() > 245 { self.below(len_max) } else { 0 };
        let mut len = 1;
        while value > 0x7f || len < padding {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
            len += 1;
        }
        self.out.push(value as u8);
    }

    fn fixed64(&mut self, kind: u64) {
        let bits = if kind == DOUBLE {
            DOUBLES[self.below(DOUBLES.len())].to_bits()
        } else {
            self.number()
        };
        self.out.extend_from_slice(&bits.to_le_bytes());
    }

    fn number(&mut self) -> u64 {
        let base = 1_u64.checked_shl(u32::from(self.byte()) % 72).unwrap_or(0);
        base.wrapping_add_signed(self.below(3) as i64 - 1)
    }
}

fn children(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Fields::new(message).filter_map(move |field| match field.unwrap() {
        (found, Value::Len(child)) if found == number => Some(child),
        _ => None,
    })
}

fn text(message: &[u8], number: u32) -> String {
    String::from_utf8(children(message, number).next().unwrap().to_vec()).unwrap()
}

fn varint(message: &[u8], number: u32) -> u64 {
    let value = Fields::new(message).find_map(|field| match field.unwrap() {
        (found, Value::Varint(value)) if found == number => Some(value),
        _ => None,
    });
    value.unwrap_or(0)
}

const DOUBLE: u64 = 1;
const FIXED64: u64 = 6;
const FIXED32: u64 = 7;
const STRING: u64 = 9;
const MESSAGE: u64 = 11;
const BYTES: u64 = 12;
const SFIXED64: u64 = 16;

const TEXTS: [&str; 8] =
    ["", "a", "key", "\0\u{1}\u{1f}\"\\/\n\r\t\u{7f}", "ü\u{2028}", "\u{feff}𐍈", "<&>", "NaN"];
const DOUBLES: [f64; 14] = [
    0.0,
    -0.0,
    1.0,
    0.1,
    -1.5,
    5e-324,
    f64::MIN_POSITIVE,
    f64::MAX,
    1e16,
    123_456_789.125,
    1e-5,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];
