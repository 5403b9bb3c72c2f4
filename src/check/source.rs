//! One file of a set as a stream, from the disk or from a host.

use std::cell::Cell;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use ureq::http::{HeaderName, Uri, header};

use super::headers::{self, Facts};
use super::{Report, Severity};
use crate::error::{Error, Result};
use crate::hub::client::{Client, Failure, Origin};

/// Attempts, where the next may succeed; one once a host did not answer.
const TRIES: u32 = 3;

/// Where a set lies.
pub enum Source {
    /// On the disk.
    Folder(PathBuf),
    /// On a host.
    Site(Site),
}

/// A set on a host, and who is to read it there.
pub struct Site {
    client: Client,
    /// The folder's address, with a slash at its end.
    base: String,
    /// The host's.
    own: Origin,
    /// The page's, where it was said.
    page: Option<Origin>,
    tries: Cell<u32>,
}

/// Why a file cannot be read.
pub(super) enum Absent {
    /// It is not there, and the source says so.
    NotThere,
    /// Anything else.
    Failed(String),
}

/// A file being read.
pub(super) struct Opened {
    pub(super) facts: Facts,
    pub(super) body: Box<dyn Read>,
}

impl Opened {
    /// All of it; `None` where it is longer than `limit`.
    pub(super) fn whole(&mut self, limit: u64) -> Result<Option<Vec<u8>>, String> {
        let mut bytes = Vec::new();
        let read = (&mut self.body).take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| format!("it breaks off ({error})"))?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }
}

impl Source {
    /// The folder or the address `place`; pages of the origin `page` are to read it.
    ///
    /// # Errors
    /// The address or the origin is none of http or https.
    pub fn new(place: &str, page: Option<&str>) -> Result<Self> {
        let page = page.map(|page| origin("origin", page)).transpose()?;
        let lower = place.to_ascii_lowercase();
        if !lower.starts_with("http://") && !lower.starts_with("https://") {
            return Ok(Self::Folder(place.into()));
        }
        let base = folder_address(place);
        let own = origin("address", &base)?;
        Ok(Self::Site(Site {
            client: Client::new(&base, None)?,
            base,
            own,
            page,
            tries: Cell::new(TRIES),
        }))
    }

    /// What is true of the place, whatever the files.
    pub(super) fn look_around(&self, report: &mut Report) -> Result<()> {
        let site = match self {
            Self::Folder(path) if path.is_dir() => return Ok(()),
            Self::Folder(path) => {
                let missing = "there is no such folder; an address begins with https://";
                let missing = std::io::Error::new(ErrorKind::NotFound, missing);
                return Err(Error::io(path, missing));
            }
            Self::Site(site) => site,
        };
        let page_is_plain = site.page.as_ref().is_some_and(|page| !page.is_encrypted());
        if !site.own.is_encrypted() && !site.own.is_loopback() && !page_is_plain {
            report.broken("", "a page reads models over https, or from the visitor's own machine");
        }
        Ok(())
    }

    /// Begins to read a file.
    pub(super) fn open(&self, name: &str) -> Result<Opened, Absent> {
        match self {
            Self::Folder(path) => match File::open(path.join(name)) {
                Ok(file) => Ok(Opened { facts: Facts::default(), body: Box::new(file) }),
                Err(error) if error.kind() == ErrorKind::NotFound => Err(Absent::NotThere),
                Err(error) => Err(Absent::Failed(error.to_string())),
            },
            Self::Site(site) => site.get(name, &[]),
        }
    }

    /// What the headers of a file mean for a page.
    pub(super) fn listen(&self, name: &str, facts: &Facts, shard: bool, report: &mut Report) {
        let Self::Site(site) = self else { return };
        headers::listen(name, facts, (&site.own, site.page.as_ref()), shard, report);
    }

    /// Whether the host sends a part of the file when asked for one.
    pub(super) fn try_range(&self, name: &str, report: &mut Report) {
        let Self::Site(site) = self else { return };
        let part = site.get(name, &[(header::RANGE, "bytes=1-".to_owned())]);
        let all = part.is_ok_and(|part| !part.facts.headers.contains_key(header::CONTENT_RANGE));
        if all {
            let what = "the host sends no parts of files (Range); a page fetches a shard that broke off from its beginning anyway, other tools cannot go on";
            report.add(Severity::Note, "", what);
        }
    }
}

impl Site {
    fn get(&self, name: &str, headers: &[(HeaderName, String)]) -> Result<Opened, Absent> {
        // As a browser does, which always says who asks another host.
        let page = self.page.as_ref().filter(|page| **page != self.own);
        let origin = page.map(|page| (header::ORIGIN, page.to_string()));
        let headers: Vec<_> = headers.iter().cloned().chain(origin).collect();
        let mut tries = 1;
        loop {
            let failure = match self.client.follow(&format!("{}{name}", self.base), &headers) {
                Ok((response, uri)) => {
                    let from = Origin::of(&uri).ok().filter(|from| *from != self.own);
                    let facts = Facts { headers: response.headers().clone(), sent_on: from };
                    let body = Box::new(response.into_body().into_reader());
                    return Ok(Opened { facts, body });
                }
                Err(failure) => failure,
            };
            if tries < self.tries.get() && failure.is_passing() {
                failure.wait(tries);
                tries += 1;
                continue;
            }
            return Err(match failure {
                Failure::Status { code: 404 | 410, .. } => Absent::NotThere,
                Failure::Status { code, .. } => Absent::Failed(format!("the host answers {code}")),
                Failure::Broken(reason) => {
                    self.tries.set(1);
                    Absent::Failed(format!("no answer from {} ({reason})", self.own))
                }
                Failure::Refused(reason) => Absent::Failed(reason),
                Failure::Local(error) => Absent::Failed(error.to_string()),
            });
        }
    }
}

/// The folder of an address, with a slash at its end: without query and fragment, nor the name of
/// a file in it.
fn folder_address(address: &str) -> String {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let (folder, last) = path.rsplit_once('/').unwrap_or((path, ""));
    let is_file = [".json", ".safetensors"].iter().any(|end| last.ends_with(end));
    if is_file { format!("{folder}/") } else { format!("{}/", path.trim_end_matches('/')) }
}

fn origin(option: &str, text: &str) -> Result<Origin> {
    let parsed = Uri::try_from(text).map_err(|error| error.to_string());
    parsed.and_then(|uri| Origin::of(&uri)).map_err(|reason| Error::OptionInvalid {
        option: option.into(),
        reason: format!("{text:?} is not an address ({reason})"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn an_address_of_a_file_is_that_of_its_folder() {
        for (address, folder) in [
            ("https://a.example", "https://a.example/"),
            ("https://a.example/m", "https://a.example/m/"),
            ("https://a.example/m/?x=/y.json#z", "https://a.example/m/"),
            ("https://a.example/m/config.json", "https://a.example/m/"),
            ("https://a.example/m/model-1.safetensors", "https://a.example/m/"),
        ] {
            assert_eq!(folder_address(address), folder);
        }
    }

    #[test]
    fn what_is_no_address_is_a_folder_or_refused() {
        assert!(matches!(Source::new("shards", None), Ok(Source::Folder(_))));
        assert!(matches!(Source::new("HTTPS://a.example/m", None), Ok(Source::Site(_))));
        for (place, page) in
            [("https://", None), ("shards", Some("page")), ("shards", Some("file:///x"))]
        {
            let refused = Source::new(place, page).map(drop).unwrap_err();
            assert_eq!(refused.code(), "option-invalid", "{place} {page:?}");
        }
    }
}
