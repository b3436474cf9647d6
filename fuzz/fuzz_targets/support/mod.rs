//! Telemetry out of arbitrary bytes, biased to defaults and to the steps of an encoding.

pub mod logs;
pub mod metrics;
pub mod spans;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::{Array, KeyValue, Value};

/// Decisions, one byte each; after the last all are 0.
pub struct Decisions<'a>(&'a [u8]);

impl<'a> Decisions<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub fn is_true(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Near a power of two.
    pub fn number(&mut self) -> u64 {
        let base = 1_u64.checked_shl(u32::from(self.byte()) % 66).unwrap_or(0);
        base.wrapping_add_signed(self.below(3) as i64 - 1)
    }

    pub fn double(&mut self) -> f64 {
        [0.0, -0.0, 0.1, f64::MAX, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY, -1.5][self.below(8)]
    }

    /// Of a length around the steps of a length prefix.
    pub fn text(&mut self) -> String {
        let lengths = [0, 1, 5, 17, 100, 117, 126, 127, 128, 300, 16_250, 16_383, 16_384];
        let length = lengths[self.below(lengths.len())];
        let unit = ["x", "ü", "\0", "€"][self.below(4)];
        let mut text = unit.repeat(length / unit.len());
        text.extend((text.len()..length).map(|_| 'y'));
        text
    }

    pub fn time(&mut self) -> SystemTime {
        let nanos = Duration::from_nanos(self.number() >> 1);
        if self.byte() > 240 { UNIX_EPOCH - nanos } else { UNIX_EPOCH + nanos }
    }

    pub fn attributes(&mut self, max: usize) -> Vec<KeyValue> {
        (0..self.below(max + 1))
            .map(|index| {
                // The first may have an empty key.
                let key = if index == 0 { self.text() } else { format!("{}{index}", self.text()) };
                KeyValue::new(key, self.value())
            })
            .collect()
    }

    pub fn value(&mut self) -> Value {
        match self.below(9) {
            0 => Value::Bool(self.is_true()),
            1 | 2 => Value::I64(self.number() as i64),
            3 => Value::F64(self.double()),
            4 => Value::Array(Array::Bool(self.list(Self::is_true))),
            5 => Value::Array(Array::I64(self.list(|it| it.number() as i64))),
            6 => Value::Array(Array::F64(self.list(Self::double))),
            7 => Value::Array(Array::String(self.list(|it| it.text().into()))),
            _ => Value::String(self.text().into()),
        }
    }

    pub fn list<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..[0, 1, 2, 40][self.below(4)]).map(|_| make(self)).collect()
    }
}
