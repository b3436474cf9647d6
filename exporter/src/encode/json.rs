//! OTLP/JSON, made of encoded OTLP: nothing is decoded into structs, and the encoders know one
//! format only.
//!
//! The rules are those of protobuf's JSON with OTLP's deviations
//! (<https://github.com/open-telemetry/opentelemetry-proto/blob/v1.11.0/docs/specification.md#json-protobuf-encoding>);
//! what they leave open is decided in docs/decisions/012-json.md. [`layout`] has the messages.

mod layout;
mod text;

#[cfg(test)]
mod tests;

use std::mem;

use self::layout::{FIELDS_MAX, Field, Kind, LOGS, Layout, METRICS, Presence, TRACES};
use crate::model::Signal;
use crate::wire::read::{fixed64, unzigzag, varint};
use crate::wire::{DEPTH_MAX, Fields, Malformed, Value};

/// Appends one encoded `Export*ServiceRequest` (or `TracesData`, `LogsData`, `MetricsData`, which
/// have the same fields) to `out`, as a JSON object without a line feed.
///
/// # Errors
/// `request` is not what other parsers of proto3 would accept. Then `out` is as it was.
pub(crate) fn transcode(
    signal: Signal,
    request: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let before = out.len();
    let layout = match signal {
        Signal::Traces => &TRACES,
        Signal::Logs => &LOGS,
        Signal::Metrics => &METRICS,
    };
    let written = message(out, layout, request, 0);
    if written.is_err() {
        out.truncate(before);
    }
    written
}

/// Writes a message with `depth` others around it. This is the only recursion, and [`DEPTH_MAX`]
/// bounds it.
fn message(
    out: &mut Vec<u8>,
    layout: &'static Layout,
    message: &[u8],
    depth: u8,
) -> Result<(), Malformed> {
    let mut writer = Writer { out, message, depth };
    let mut all = [NOT_FOUND; FIELDS_MAX];
    writer.scan(layout, &mut all)?;
    let mut opening = b'{';
    for (field, &found) in layout.fields.iter().zip(&all) {
        if found.is_in_json(field) {
            writer.out.push(mem::replace(&mut opening, b','));
            text::name(writer.out, field.name);
            writer.field(field, found)?;
        }
    }
    if opening == b'{' {
        writer.out.push(b'{');
    }
    writer.out.push(b'}');
    Ok(())
}

/// Writes the fields of one message.
struct Writer<'o, 'm> {
    out: &'o mut Vec<u8>,
    message: &'m [u8],
    depth: u8,
}

/// What a scan found of a field.
#[derive(Clone, Copy)]
struct Found<'m> {
    /// How often it stands there.
    count: usize,
    /// From its first occurrence on.
    from: &'m [u8],
    /// The last one.
    last: Value<'m>,
}

const NOT_FOUND: Found<'static> = Found { count: 0, from: &[], last: Value::Varint(0) };

impl Found<'_> {
    fn is_in_json(&self, field: &Field) -> bool {
        match (self.count, field.presence) {
            (0, _) => false,
            _ if matches!(field.kind, Kind::Alpha) => false,
            (_, Presence::Value) => !is_default(field.kind, self.last),
            _ => true,
        }
    }
}

fn is_default(kind: Kind, value: Value<'_>) -> bool {
    match value {
        // Of 32-bit numbers the low half counts.
        Value::Varint(value) if matches!(kind, Kind::Int32 | Kind::Uint32 | Kind::Sint32) => {
            value as u32 == 0
        }
        Value::Varint(value) | Value::Fixed64(value) => value == 0,
        Value::Fixed32(value) => value == 0,
        Value::Len(bytes) | Value::Group(bytes) => bytes.is_empty(),
    }
}

impl<'m> Writer<'_, 'm> {
    /// Finds all fields in one pass, and checks the types of all occurrences.
    fn scan(
        &mut self,
        layout: &'static Layout,
        found: &mut [Found<'m>; FIELDS_MAX],
    ) -> Result<(), Malformed> {
        let mut fields = self.fields(self.message);
        // Fields usually stand in order, so the next is near.
        let mut near = 0;
        loop {
            let from = fields.rest();
            let Some(field) = fields.next() else { return Ok(()) };
            let (number, last) = field?;
            let Some(index) = position(layout, near, number) else { continue };
            near = index;
            let field = &layout.fields[index];
            check_type(field, last)?;
            if field.presence == Presence::Oneof {
                self.clear_others(layout, index, found)?;
            }
            if found[index].count > 0 {
                self.check_hidden(field, found[index].last)?;
            }
            let earlier = found[index];
            let from = if earlier.count == 0 { from } else { earlier.from };
            found[index] = Found { count: earlier.count + 1, from, last };
        }
    }

    /// A member of a oneof takes the place of the others.
    fn clear_others(
        &mut self,
        layout: &'static Layout,
        index: usize,
        found: &mut [Found<'m>; FIELDS_MAX],
    ) -> Result<(), Malformed> {
        for (other, field) in layout.fields.iter().enumerate() {
            let is_set = found[other].count > 0 && field.presence == Presence::Oneof;
            if is_set && other != index {
                self.check_replaced(field, found[other])?;
                found[other] = NOT_FOUND;
            }
        }
        Ok(())
    }

    /// What is not written must be valid all the same: other parsers would refuse it.
    #[cold]
    fn check_replaced(&mut self, field: &Field, found: Found<'_>) -> Result<(), Malformed> {
        let before = self.out.len();
        let written = self.field(field, found);
        self.out.truncate(before);
        written
    }

    /// The same for a scalar that stands there again.
    #[cold]
    fn check_hidden(&self, field: &Field, value: Value<'_>) -> Result<(), Malformed> {
        match (field.kind, field.presence) {
            (_, Presence::Repeated) => Ok(()),
            (Kind::Text, _) => value.text().map(drop),
            _ => Ok(()),
        }
    }

    fn field(&mut self, field: &Field, found: Found<'_>) -> Result<(), Malformed> {
        match (field.presence, field.kind) {
            (Presence::Repeated, _) => self.array(field, found),
            (_, Kind::Message(layout)) if found.count > 1 => self.merged(layout, field, found),
            (_, kind) => self.value(kind, found.last),
        }
    }

    fn array(&mut self, field: &Field, found: Found<'_>) -> Result<(), Malformed> {
        let mut opening = b'[';
        for value in self.occurrences(field.number, found) {
            match (value?, field.kind) {
                (Value::Len(packed), kind @ (Kind::Fixed64 | Kind::Double | Kind::Uint64)) => {
                    self.packed(&mut opening, kind, packed)?;
                }
                (value, kind) => {
                    self.out.push(mem::replace(&mut opening, b','));
                    self.value(kind, value)?;
                }
            }
        }
        if opening == b'[' {
            self.out.push(b'[');
        }
        self.out.push(b']');
        Ok(())
    }

    fn packed(&mut self, opening: &mut u8, kind: Kind, mut packed: &[u8]) -> Result<(), Malformed> {
        while !packed.is_empty() {
            let value = match kind {
                Kind::Uint64 => Value::Varint(varint(&mut packed)?),
                _ => Value::Fixed64(fixed64(&mut packed)?),
            };
            self.out.push(mem::replace(opening, b','));
            self.value(kind, value)?;
        }
        Ok(())
    }

    /// A message field that stands there again: to merge is to concatenate. Each part has to be
    /// whole, or one would end what another begins.
    #[cold]
    fn merged(
        &mut self,
        layout: &'static Layout,
        field: &Field,
        found: Found<'_>,
    ) -> Result<(), Malformed> {
        let mut merged = Vec::new();
        for part in self.occurrences(field.number, found) {
            let part = part?.bytes()?;
            Fields::at_depth(part, self.depth + 1).try_for_each(|field| field.map(drop))?;
            merged.extend_from_slice(part);
        }
        self.inner(layout, &merged)
    }

    fn value(&mut self, kind: Kind, value: Value<'_>) -> Result<(), Malformed> {
        let out = &mut *self.out;
        match kind {
            Kind::Text => text::string(out, value.text()?),
            Kind::Bytes => text::base64(out, value.bytes()?),
            Kind::Id => text::hexadecimal(out, value.bytes()?),
            Kind::Bool => {
                out.extend_from_slice(if value.varint()? == 0 { b"false" } else { b"true" });
            }
            Kind::Int32 => text::signed(out, i64::from(value.varint()? as i32)),
            Kind::Uint32 => text::unsigned(out, u64::from(value.varint()? as u32)),
            Kind::Sint32 => text::signed(out, i64::from(unzigzag(value.varint()? as u32))),
            Kind::Fixed32 => text::unsigned(out, u64::from(value.fixed32()?)),
            Kind::Int64 => {
                let value = value.varint()? as i64;
                text::quoted(out, |out| text::signed(out, value));
            }
            Kind::Uint64 => {
                let value = value.varint()?;
                text::quoted(out, |out| text::unsigned(out, value));
            }
            Kind::Fixed64 => {
                let value = value.fixed64()?;
                text::quoted(out, |out| text::unsigned(out, value));
            }
            Kind::Sfixed64 => {
                let value = value.fixed64()? as i64;
                text::quoted(out, |out| text::signed(out, value));
            }
            Kind::Double => text::double(out, f64::from_bits(value.fixed64()?)),
            Kind::Alpha => {}
            Kind::Message(layout) => self.inner(layout, value.bytes()?)?,
        }
        Ok(())
    }

    fn inner(&mut self, layout: &'static Layout, inner: &[u8]) -> Result<(), Malformed> {
        if self.depth == DEPTH_MAX {
            return Err(Malformed::Depth);
        }
        message(self.out, layout, inner, self.depth + 1)
    }

    fn occurrences<'f>(
        &self,
        number: u32,
        found: Found<'f>,
    ) -> impl Iterator<Item = Result<Value<'f>, Malformed>> + use<'f> {
        self.fields(found.from)
            .filter_map(move |field| match field {
                Ok((other, value)) => (other == number).then_some(Ok(value)),
                Err(error) => Some(Err(error)),
            })
            .take(found.count)
    }

    fn fields<'f>(&self, message: &'f [u8]) -> Fields<'f> {
        Fields::at_depth(message, self.depth)
    }
}

/// Where the field is in the layout. Looks near `near` first.
fn position(layout: &Layout, near: usize, number: u32) -> Option<usize> {
    let fields = layout.fields;
    let ahead = fields[near..].iter().position(|field| field.number == number);
    ahead
        .map(|ahead| near + ahead)
        .or_else(|| fields[..near].iter().position(|field| field.number == number))
}

fn check_type(field: &Field, value: Value<'_>) -> Result<(), Malformed> {
    let fits = match (field.kind, value) {
        (Kind::Text | Kind::Bytes | Kind::Id | Kind::Message(_), Value::Len(_)) => true,
        (Kind::Fixed64 | Kind::Sfixed64 | Kind::Double, Value::Fixed64(_)) => true,
        (Kind::Fixed32, Value::Fixed32(_)) => true,
        (Kind::Bool | Kind::Int32 | Kind::Uint32 | Kind::Sint32, Value::Varint(_)) => true,
        (Kind::Int64 | Kind::Uint64 | Kind::Alpha, Value::Varint(_)) => true,
        // Packed.
        (Kind::Fixed64 | Kind::Double | Kind::Uint64, Value::Len(_)) => {
            field.presence == Presence::Repeated
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(Malformed::Type) }
}
