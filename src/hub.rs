//! Downloads a checkpoint from a repository on the Hugging Face hub, or a server like it.
//!
//! In: `OWNER/NAME` and a revision. Out: a folder in the hub's usual cache with the files that a
//! conversion reads, all of one commit, each with the length and hash that the list of files
//! names. A download that was cut off continues at its byte.
//!
//! - `listing`: what the server says there is, checked before any of it is used.
//! - `client`: requests, redirects and who gets the token.
//! - `transfer`: one file, received and verified.
//! - `cache`: where files lie. No path contains anything a header says.

mod cache;
pub(crate) mod client;
mod listing;
mod transfer;

use crate::checkpoint::folder::read_small;
use crate::checkpoint::index::{INDEX_FILE, Index};
pub use crate::checkpoint::repository::is_repository;
use crate::convert::small_files::is_copied;
use crate::error::{Error, Result};
use cache::Cache;
use client::{Client, Failure};
use listing::{Listing, RemoteFile};
use std::path::PathBuf;
use std::{env, fmt};
use transfer::Transfer;

/// The hub's own address.
const OWN_ENDPOINT: &str = "https://huggingface.co";

/// Longest file with a token that is read.
const MAX_TOKEN_FILE: usize = 4096;

const SINGLE_FILE: &str = "model.safetensors";

/// Where repositories are and who asks for them.
#[derive(Clone)]
pub struct Hub {
    /// Address of the server; the hub's own where there is none.
    pub endpoint: Option<String>,
    /// An access token, for private and gated repositories. It is sent to the endpoint alone,
    /// never to where that redirects to, and never over plain http but to this machine.
    pub token: Option<String>,
    /// The folder with the cache, `hub/`.
    pub home: PathBuf,
}

impl fmt::Debug for Hub {
    /// Without the token, which must not get into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, token, home } = self;
        let token = token.as_ref().map(|_| "…");
        let mut fields = f.debug_struct("Hub");
        fields.field("endpoint", endpoint).field("token", &token).field("home", home).finish()
    }
}

impl Hub {
    /// As `HF_ENDPOINT`, `HF_TOKEN` and `HF_HOME` say. Without `HF_TOKEN` the login that
    /// `hf auth login` stored (`HF_TOKEN_PATH`, or `token` in `HF_HOME`) is used, but for the hub
    /// itself only: another endpoint gets what was meant for it, `HF_TOKEN`.
    ///
    /// # Errors
    /// There is neither `HF_HOME` nor a home folder.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| env::var(name).ok(), env::home_dir())
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
        home: Option<PathBuf>,
    ) -> Result<Self> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let home = set("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| home.map(|home| home.join(".cache").join("huggingface")));
        let home = home.ok_or_else(|| Error::OptionInvalid {
            option: "HF_HOME".into(),
            reason: "there is no home folder; set HF_HOME to a folder for downloads".into(),
        })?;
        let mut hub = Self { endpoint: set("HF_ENDPOINT"), token: set("HF_TOKEN"), home };
        if hub.token.is_none() && hub.is_own() {
            let file = set("HF_TOKEN_PATH").map_or_else(|| hub.home.join("token"), PathBuf::from);
            let stored = std::fs::read_to_string(file).unwrap_or_default();
            let stored = stored.trim();
            let plausible = !stored.is_empty() && stored.len() <= MAX_TOKEN_FILE;
            hub.token = plausible.then(|| stored.to_owned());
        }
        Ok(hub)
    }

    /// Whether the endpoint is the hub itself.
    fn is_own(&self) -> bool {
        self.endpoint().trim_end_matches('/').eq_ignore_ascii_case(OWN_ENDPOINT)
    }

    fn endpoint(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(OWN_ENDPOINT)
    }

    /// Downloads what a conversion reads and is not in the cache yet. `progress` gets the bytes
    /// that are there and verified so far, and those there will be. Files in the cache are used
    /// whichever tool put them there, once their length and hash are found right.
    ///
    /// # Errors
    /// [`Error::Network`] with what to do where the server refuses or fails, where its answers
    /// contradict each other or name what no conversion reads, or where the repository has no
    /// safetensors weights; the token would be sent unencrypted; the cache cannot be written or
    /// leads out of its folder; the index is invalid.
    pub fn fetch(
        &self,
        repository: &str,
        revision: &str,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<PathBuf> {
        if !is_repository(repository) {
            let reason = format!("{repository:?} is not of the form OWNER/NAME");
            return Err(Error::OptionInvalid { option: "repository".into(), reason });
        }
        let client = Client::new(self.endpoint(), self.token.as_deref())?;
        let url = client.listing_url(repository, revision);
        let explain = |url: &str, failure| self.explain(url, failure, repository, revision);
        let listing = Listing::fetch(&client, &url).map_err(|failure| explain(&url, failure))?;
        let cache = Cache::open(&self.home, repository)?;
        let commit = &listing.commit;
        let get = |name: &str, file: &RemoteFile, report: &mut dyn FnMut(u64)| -> Result<PathBuf> {
            if let Some(path) = cache.find(commit, name, file, report)? {
                return Ok(path);
            }
            let url = client.file_url(repository, commit, name);
            let part = cache.part(commit, name, file)?;
            let hash = Transfer { client: &client, url: &url, name, file }.run(&part, report);
            let hash = hash.map_err(|failure| explain(&url, failure))?;
            cache.store(&part, &hash, commit, name)
        };
        let mut wanted: Vec<(&str, &RemoteFile)> = listing.small_files().collect();
        if let Some(file) = listing.file(SINGLE_FILE) {
            wanted.push((SINGLE_FILE, file));
        } else if let Some(file) = listing.file(INDEX_FILE) {
            let index = Index::parse(&read_small(&get(INDEX_FILE, file, &mut |_| ())?)?)?;
            wanted.push((INDEX_FILE, file));
            for name in index.files() {
                let file = listing.entry(name).ok_or_else(|| Error::IndexInvalid {
                    file: INDEX_FILE.into(),
                    reason: format!("it names {name}, which the repository does not have"),
                })?;
                wanted.push(file);
            }
        } else {
            return Err(Error::Network {
                url,
                reason: "the repository has no safetensors weights; convert them with `save_pretrained` of transformers".into(),
            });
        }
        let total = wanted.iter().filter_map(|(_, file)| file.size).sum();
        let mut base = 0;
        for (name, file) in wanted {
            get(name, file, &mut |done| progress((base + done).min(total), total))?;
            base += file.size.unwrap_or(0);
            progress(base, total);
        }
        cache.note_revision(revision, commit)?;
        Ok(cache.snapshot(commit))
    }

    /// What happened and what to do.
    fn explain(&self, url: &str, failure: Failure, repository: &str, revision: &str) -> Error {
        let reason = match failure {
            Failure::Local(error) => return error,
            Failure::Refused(reason) => format!("the server's answer is refused: {reason}"),
            Failure::Broken(reason) => format!("{reason}; the same command continues the download"),
            Failure::Status { code: code @ (401 | 403), .. } if self.token.is_some() => format!(
                "the server answered {code}: the token (HF_TOKEN, or that of `hf auth login`) gives no access to {repository}. Check the name, and accept the terms on the repository's page if it has any"
            ),
            Failure::Status { code: code @ (401 | 403), .. } => format!(
                "the server answered {code}: {repository} does not exist, or is private or gated. Check the name; for a private or gated repository set HF_TOKEN to an access token{}",
                if self.is_own() {
                    ", or log in with `hf auth login`"
                } else {
                    ": that of `hf auth login` is sent to huggingface.co only"
                }
            ),
            Failure::Status { code: 404, .. } => format!(
                "the server answered 404: there is no repository {repository}, or it has no revision {revision}. Check the name and --revision"
            ),
            Failure::Status { code, .. } => format!("the server answered {code}; try again later"),
        };
        Error::Network { url: url.into(), reason }
    }
}

/// Whether a conversion copies or reads the file besides the weights.
fn is_small_file(name: &str) -> bool {
    name == "config.json" || is_copied(name)
}

#[cfg(test)]
mod tests;
