//! The value of a `Retry-After`: seconds, or a date in one of the three forms of HTTP.
//!
//! Promises: no panic; the wait is what a naive reader makes of it; none is longer than a day.
//!
//! The first four bytes of an input are the time of receipt, in seconds since 1970. If the fifth is below 128, the
//! rest is the value. Else the rest makes a date, which is right but for what the bytes say.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use spanwire::internals::retry_after;

fuzz_target!(|input: &[u8]| {
    let [a, b, c, d, choice, rest @ ..] = input else { return };
    let now = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
    let generated = date(*choice, rest).into_bytes();
    let value = if choice & 0x80 == 0 { rest } else { &generated };
    let received = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
    let expected = naive(value, now).map(|seconds| Duration::from_secs(seconds.min(DAY)));
    assert_eq!(retry_after(value, received), expected, "{:?}", value.escape_ascii().to_string());
});

/// A date in the form that `choice` says.
fn date(choice: u8, bytes: &[u8]) -> String {
    let mut bytes = bytes.iter().copied();
    let mut below = |most: u32| {
        let two = [bytes.next().unwrap_or(7), bytes.next().unwrap_or(0)];
        u32::from(u16::from_le_bytes(two)) % most
    };
    let (year, month, day) = (1965 + below(100), below(12) as usize, below(33));
    let (hour, minute, second) = (below(25), below(61), below(61));
    let right = days(u64::from(year.max(1970)), month, u64::from(day)).map_or(0, weekday);
    let weekday = if below(16) == 0 { below(7) as usize } else { right };
    let (month, name) = (MONTHS[month], WEEKDAYS[weekday]);
    let time = format!("{hour:02}:{minute:02}:{second:02}");
    match choice % 3 {
        0 => format!("{}, {day:02} {month} {year} {time} GMT", &name[..3]),
        1 => format!("{name}, {day:02}-{month}-{:02} {time} GMT", year % 100),
        _ => format!("{} {month} {day:2} {time} {year}", &name[..3]),
    }
}

/// Seconds to wait: those that it says, or those from `now` until the date.
fn naive(value: &[u8], now: u64) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
        let seconds = text.chars().fold(0_u64, |sum, c| {
            sum.saturating_mul(10).saturating_add(u64::from(c as u32 - '0' as u32))
        });
        return Some(seconds);
    }
    let at = imf_fixdate(text).or_else(|| rfc850(text)).or_else(|| asctime(text))?;
    Some(at.saturating_sub(now))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &str) -> Option<u64> {
    let (name, rest) = text.split_once(", ")?;
    let [day, month, year, time, "GMT"] = parts(rest, ' ')? else { return None };
    seconds(short(name)?, digits(year, 4)?, month, digits(day, 2)?, time)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`. Years from 70 on are those of the last century. httpdate does
/// not look at what stands between the date and the time, which does no harm.
fn rfc850(text: &str) -> Option<u64> {
    let (name, rest) = text.split_once(", ").filter(|(_, rest)| rest.is_ascii())?;
    let [day, month, year] = parts(rest.get(..9)?, '-')?;
    let [time, "GMT"] = parts(rest.get(10..)?, ' ')? else { return None };
    let year = match digits(year, 2)? {
        year @ 70.. => 1900 + year,
        year => 2000 + year,
    };
    let weekday = WEEKDAYS.iter().position(|known| *known == name)?;
    seconds(weekday, year, month, digits(day, 2)?, time)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &str) -> Option<u64> {
    let (name, rest) = text.split_once(' ')?;
    let (month, rest) = rest.split_once(' ')?;
    let day = match rest.strip_prefix(' ') {
        Some(rest) => digits(rest.get(..1)?, 1)?,
        None => digits(rest.get(..2)?, 2)?,
    };
    let [time, year] = parts(rest.get(2..)?.strip_prefix(' ')?, ' ')?;
    seconds(short(name)?, digits(year, 4)?, month, day, time)
}

/// Seconds since 1970 of a date whose day of the week is right.
fn seconds(name: usize, year: u64, month: &str, day: u64, time: &str) -> Option<u64> {
    let [hour, minute, second] = parts(time, ':')?;
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let month = MONTHS.iter().position(|known| *known == month)?;
    let days = days(year, month, day)?;
    (weekday(days) == name).then_some(days * DAY + hour * 3600 + minute * 60 + second)
}

/// Days since 1970, counted one year and one month after the other.
fn days(year: u64, month: usize, day: u64) -> Option<u64> {
    let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if is_leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if year < 1970 || day == 0 || day > lengths[month] {
        return None;
    }
    let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    Some(years + lengths[..month].iter().sum::<u64>() + day - 1)
}

/// The first of 1970 was a Thursday.
fn weekday(days: u64) -> usize {
    ((days + 3) % 7) as usize
}

fn short(name: &str) -> Option<usize> {
    WEEKDAYS.iter().position(|known| &known[..3] == name)
}

fn digits(text: &str, count: usize) -> Option<u64> {
    let is_right = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_right { text.parse().ok() } else { None }
}

/// What stands between single separators, if there are so many.
fn parts<const N: usize>(text: &str, separator: char) -> Option<[&str; N]> {
    text.split(separator).collect::<Vec<_>>().try_into().ok()
}

const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: u64 = 24 * 60 * 60;
