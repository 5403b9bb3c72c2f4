//! The names of repositories on a hub.

/// Whether the text is of the form `OWNER/NAME`.
#[must_use]
pub fn is_repository(text: &str) -> bool {
    let plain = |part: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !part.is_empty() && part.bytes().all(allowed) && !part.starts_with(['.', '-'])
    };
    text.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name))
}
