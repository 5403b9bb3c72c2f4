//! The small files of a model, fetched, or stored where the network is out of reach.

use std::cell::RefCell;

use crate::error::{Error, Result};
use crate::limits;
use crate::loading::manifest::{Blob, REQUIRED, Record, SMALL, web_page};
use crate::loading::together::all;

use super::fetch::{self, Fetcher};
use super::store::Store;

/// The small files in the order of [`SMALL`], from the network, or from the store where the
/// network is out of reach and the model is complete.
///
/// # Errors
/// They can be had neither way, or the visitor cancelled.
pub async fn small_files(
    base: &str,
    store: &Store,
    how: &mut Fetcher<'_>,
) -> Result<Vec<Option<Vec<u8>>>> {
    let stored = store.model(base).await;
    if stored.is_some() {
        how.tries = 1; // there is another way
    }
    let fetched = fetch_small(base, how).await;
    how.tries = fetch::TRIES;
    match (fetched, stored) {
        (Err(Error::Network { url, reason }), Some(record)) => {
            let found = stored_small(&record, store).await;
            found.ok_or(Error::Network { url, reason })
        }
        (fetched, _) => fetched,
    }
}

async fn fetch_small(base: &str, how: &Fetcher<'_>) -> Result<Vec<Option<Vec<u8>>>> {
    let urls = SMALL.map(|name| format!("{base}{name}"));
    let found: [RefCell<Option<Vec<u8>>>; SMALL.len()] = Default::default();
    let fetches = urls.iter().zip(&found).enumerate().map(|(number, (url, place))| async move {
        let file = fetch::small(url, how).await?;
        if file.as_deref().is_none_or(|bytes| !limits::is_web_page(bytes)) {
            place.replace(file);
            return Ok(());
        }
        // Of a file that may be absent, this says that it is.
        if number < REQUIRED { Err(web_page(url)) } else { Ok(()) }
    });
    all(fetches).await?;
    Ok(found.into_iter().map(RefCell::into_inner).collect())
}

/// `None` where one of them is gone or damaged.
async fn stored_small(record: &Record, store: &Store) -> Option<Vec<Option<Vec<u8>>>> {
    let mut found = vec![None; SMALL.len()];
    for blob in &record.files {
        let place = SMALL.iter().position(|name| *name == blob.name)?;
        let bytes = store.get(&blob.sha256).await?.to_vec();
        if Blob::of(&blob.name, &bytes) != *blob {
            return None;
        }
        *found.get_mut(place)? = Some(bytes);
    }
    Some(found)
}
