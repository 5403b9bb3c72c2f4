//! What a host says about a file, and what a browser makes of it.

use ureq::http::{HeaderMap, HeaderName, header};

use super::{Report, Severity};
use crate::hub::client::Origin;

/// Seconds for which a file whose content may change should be kept at most.
const FRESH: u64 = 24 * 60 * 60;
/// Seconds for which a file that never changes should be kept at least.
const LASTING: u64 = 30 * FRESH;

/// What a host says along with a file; nothing of a folder's.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) headers: HeaderMap,
    /// The host that the file came from in the end, where it is another one.
    pub(super) sent_on: Option<Origin>,
}

/// Says what is wrong with the headers of a file that the host `own` sends to a page of the origin
/// `page`. A shard never changes, since its name contains its hash.
pub(super) fn listen(
    name: &str,
    facts: &Facts,
    (own, page): (&Origin, Option<&Origin>),
    shard: bool,
    report: &mut Report,
) {
    let elsewhere = facts.sent_on.as_ref();
    if let Some(host) = elsewhere {
        let what = format!(
            "the host sends on to {host}: a page whose policy allows {own} alone cannot follow. Give the address where the files really are"
        );
        report.add(Severity::Warning, name, what);
    }
    if page.is_none_or(|page| page != own || elsewhere.is_some()) {
        allowed(name, &facts.headers, page, report);
    }
    encoded(name, &facts.headers, report);
    kept(name, &facts.headers, shard, report);
}

/// Whether pages of another origin may read it.
fn allowed(name: &str, headers: &HeaderMap, page: Option<&Origin>, report: &mut Report) {
    let mut said = headers.get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN).iter();
    let (first, second) = (said.next(), said.next());
    let value = first.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let wanted = page.map(Origin::to_string);
    match (value, wanted) {
        _ if second.is_some() => {
            let what = "the host sends the header Access-Control-Allow-Origin twice, which browsers take for none";
            report.broken(name, what);
        }
        (Some(value), _) if value == "*" => {}
        (Some(value), Some(wanted)) if value == wanted => {}
        (Some(value), Some(wanted)) => report.broken(
            name,
            format!("pages of {wanted} cannot read it: the host sends Access-Control-Allow-Origin: {value:?}, and must send {wanted} (or *)"),
        ),
        (None, Some(wanted)) => report.broken(
            name,
            format!("pages of {wanted} cannot read it: the host must send Access-Control-Allow-Origin: {wanted} (or *)"),
        ),
        (Some(value), None) => report.add(
            Severity::Warning,
            name,
            format!("only pages of {value:?} can read it (Access-Control-Allow-Origin)"),
        ),
        (None, None) => report.add(
            Severity::Warning,
            name,
            "only pages of the host itself can read it: for others it must send Access-Control-Allow-Origin: *",
        ),
    }
}

/// Nothing was asked for but the bytes as they are.
fn encoded(name: &str, headers: &HeaderMap, report: &mut Report) {
    if let Some(encoding) = encoding(headers) {
        let what = format!(
            "the host sends it as {encoding:?}, unasked: its bytes cannot be compared here"
        );
        report.add(Severity::Warning, name, what);
    }
}

/// How the bytes are packed on the way, if they are.
pub(super) fn encoding(headers: &HeaderMap) -> Option<&str> {
    text(headers, header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity")
}

/// Whether caches keep what changes for a short time and what does not for a long one.
fn kept(name: &str, headers: &HeaderMap, shard: bool, report: &mut Report) {
    let control = text(headers, header::CACHE_CONTROL).unwrap_or_default().to_ascii_lowercase();
    let words = || control.split(',').map(str::trim);
    let age = words().find_map(|word| word.strip_prefix("max-age=")?.parse::<u64>().ok());
    let never = words().any(|word| word == "no-store" || word == "no-cache");
    if shard && (never || age.is_none_or(|age| age < LASTING)) {
        let what = "its name contains its hash: with Cache-Control: public, max-age=31536000, immutable caches on the way may keep it";
        report.add(Severity::Note, name, what);
    }
    let fixed = words().any(|word| word == "immutable");
    if !shard && !never && (fixed || age.is_some_and(|age| age > FRESH)) {
        let what = format!(
            "browsers keep it by Cache-Control: {control:?}, and would load the old set long after a new one is there"
        );
        report.add(Severity::Warning, name, what);
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
