//! Downloads a checkpoint from a repository on the Hugging Face hub, or a server like it.
//!
//! In: `OWNER/NAME` and a revision. Out: a folder in the hub's usual cache with the files that a
//! conversion reads, all of one commit. A download that was cut off continues at its byte.

use super::convert::{COPIED, QFORMER_TOKENIZER};
use super::index::{INDEX_FILE, Index};
use crate::error::{Error, Result};
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;
use std::env;
use std::path::{Path, PathBuf};

/// Attempts to continue a download that was cut off.
const RETRIES: usize = 5;

const SINGLE_FILE: &str = "model.safetensors";

/// Where repositories are and who asks for them.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Address of the server; the hub's own where there is none.
    pub endpoint: Option<String>,
    /// An access token, for private and gated repositories.
    pub token: Option<String>,
    /// The folder of the cache and of the token that `hf auth login` stores.
    pub home: PathBuf,
}

/// What the hub says about a revision.
#[derive(Deserialize)]
struct Revision {
    sha: String,
    siblings: Vec<RemoteFile>,
}

#[derive(Deserialize)]
struct RemoteFile {
    #[serde(rename = "rfilename")]
    name: String,
    #[serde(default)]
    size: u64,
}

/// Whether the text is of the form `OWNER/NAME`.
#[must_use]
pub fn is_repository(text: &str) -> bool {
    let plain = |part: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !part.is_empty() && part.bytes().all(allowed) && !part.starts_with(['.', '-'])
    };
    text.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name))
}

impl Hub {
    /// As `HF_ENDPOINT`, `HF_TOKEN` and `HF_HOME` say.
    ///
    /// # Errors
    /// There is neither `HF_HOME` nor a home folder.
    pub fn from_env() -> Result<Self> {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let home = set("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| env::home_dir().map(|home| home.join(".cache").join("huggingface")));
        let home = home.ok_or_else(|| Error::OptionInvalid {
            option: "HF_HOME".into(),
            reason: "there is no home folder; set HF_HOME to a folder for downloads".into(),
        })?;
        Ok(Self { endpoint: set("HF_ENDPOINT"), token: set("HF_TOKEN"), home })
    }

    /// Downloads what a conversion reads and is not in the cache yet. `progress` gets the bytes
    /// that are there and those there will be.
    ///
    /// # Errors
    /// [`Error::Network`] with what to do where the server refuses or fails, or where the
    /// repository has no safetensors weights; the index is invalid.
    pub fn fetch(
        &self,
        repository: &str,
        revision: &str,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<PathBuf> {
        let remote = self.open(repository, revision)?;
        let explain = |remote: &ApiRepo, file: &str, error: &ApiError| Error::Network {
            url: remote.url(file),
            reason: self.advice(error, repository, revision),
        };
        let listing = remote.info_request().query("blobs", "true").call();
        let listing: Revision = listing
            .and_then(|mut response| response.body_mut().read_to_vec())
            .map_err(|e| explain(&remote, "", &ApiError::RequestError(Box::new(e))))
            .and_then(|bytes| {
                serde_json::from_slice(&bytes).map_err(|e| Error::Network {
                    url: remote.url(""),
                    reason: format!("the server's list of files cannot be read ({e})"),
                })
            })?;
        // From here on the commit and not the branch, which may move meanwhile.
        let remote = self.open(repository, &listing.sha)?;
        let snapshot = Cache::new(self.home.join("hub"))
            .repo(model(repository, &listing.sha))
            .pointer_path(&listing.sha);
        let get = |name: &str, report: Report<'_>| -> Result<PathBuf> {
            let cached = snapshot.join(name);
            if cached.exists() {
                return Ok(cached);
            }
            let found = remote.download_with_progress(name, report);
            found.map_err(|e| explain(&remote, name, &e))
        };
        let has = |name: &str| listing.siblings.iter().any(|file| file.name == name);
        let mut wanted: Vec<String> =
            listing.siblings.iter().map(|f| f.name.clone()).filter(|n| is_small_file(n)).collect();
        if has(SINGLE_FILE) {
            wanted.push(SINGLE_FILE.into());
        } else if has(INDEX_FILE) {
            let index =
                get(INDEX_FILE, Report { base: 0, done: 0, total: 0, sink: &mut |_, _| {} })?;
            let index = std::fs::read(&index).map_err(|e| Error::io(&index, e))?;
            wanted.push(INDEX_FILE.into());
            wanted.extend(Index::parse(&index)?.files().into_iter().map(str::to_owned));
        } else {
            return Err(Error::Network {
                url: remote.url(""),
                reason: "the repository has no safetensors weights; convert them with `save_pretrained` of transformers".into(),
            });
        }
        let size = |name: &str| {
            listing.siblings.iter().find(|file| file.name == name).map_or(0, |file| file.size)
        };
        let total = wanted.iter().map(|name| size(name)).sum();
        let mut base = 0;
        for name in &wanted {
            get(name, Report { base, done: 0, total, sink: progress })?;
            base += size(name);
            progress(base, total);
        }
        Ok(snapshot)
    }

    fn open(&self, repository: &str, revision: &str) -> Result<ApiRepo> {
        let mut builder = ApiBuilder::from_cache(Cache::new(self.home.join("hub")))
            .with_progress(false)
            .with_retries(RETRIES);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        if self.token.is_some() {
            builder = builder.with_token(self.token.clone());
        }
        let api = builder.build().map_err(|e| Error::Network {
            url: self.endpoint.clone().unwrap_or_default(),
            reason: e.to_string(),
        })?;
        Ok(api.repo(model(repository, revision)))
    }

    /// What happened and what to do.
    fn advice(&self, error: &ApiError, repository: &str, revision: &str) -> String {
        match status(error) {
            Some(code @ (401 | 403)) if self.token.is_some() => format!(
                "the server answered {code}: the token in HF_TOKEN gives no access to {repository}. Check the name, and accept the terms on the repository's page if it has any"
            ),
            Some(code @ (401 | 403)) => format!(
                "the server answered {code}: {repository} does not exist, or is private or gated. Check the name; for a private or gated repository set HF_TOKEN to an access token, or log in with `hf auth login`"
            ),
            Some(404) => format!(
                "the server answered 404: there is no repository {repository}, or it has no revision {revision}. Check the name and --revision"
            ),
            Some(code) => format!("the server answered {code}; try again later"),
            None => format!("{error}; the same command continues the download"),
        }
    }
}

fn model(repository: &str, revision: &str) -> Repo {
    Repo::with_revision(repository.to_owned(), RepoType::Model, revision.to_owned())
}

fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(code) => Some(code),
            _ => None,
        },
        ApiError::TooManyRetries(error) => status(error),
        _ => None,
    }
}

/// Whether a conversion copies or reads the file besides the weights.
fn is_small_file(name: &str) -> bool {
    let tokenizer = |name: &str| {
        let kind = Path::new(name).extension();
        !name.contains(['/', '\\']) && kind.is_some_and(|kind| kind == "json" || kind == "txt")
    };
    let inner = name.strip_prefix(QFORMER_TOKENIZER).and_then(|rest| rest.strip_prefix('/'));
    name == "config.json" || COPIED.contains(&name) || inner.is_some_and(tokenizer)
}

/// Passes the progress of one file on as that of all.
struct Report<'a> {
    /// Bytes of the files before this one.
    base: u64,
    done: u64,
    total: u64,
    sink: &'a mut dyn FnMut(u64, u64),
}

impl hf_hub::api::Progress for Report<'_> {
    fn init(&mut self, _size: usize, _name: &str) {
        self.done = 0;
    }

    fn update(&mut self, bytes: usize) {
        self.done += bytes as u64;
        (self.sink)(self.base + self.done, self.total);
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests;
