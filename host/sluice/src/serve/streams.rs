//! Store of resumable streams, in the data folder.

use std::path::Path;
use std::sync::Arc;

use crate::lock::DataLock;
use base::blocking::LOADING;
use gateway::routes::Gateway;
use gateway::socket::restore;
use session::store::Store;
use session::store::embedded::EmbeddedStore;

/// Name of the store's file in the data folder.
const NAME: &str = "streams.redb";

/// Opens the store, and restores the streams of the earlier process. Without a store, streams can be
/// resumed only in the process that they began in.
pub async fn restore(
    lock: &DataLock,
    data_dir: &Path,
    gateway: &Arc<Gateway>,
) -> Option<Arc<dyn Store>> {
    // Two gateways must not write to one store. That there is no lock was logged.
    if !lock.is_held() {
        return None;
    }
    let file = data_dir.join(NAME);
    let opening = LOADING.run({
        let file = file.clone();
        move || EmbeddedStore::open(&file)
    });
    let error = match opening.await {
        Ok(Ok((store, records))) => {
            let store: Arc<dyn Store> = Arc::new(store);
            restore::restore(gateway, Arc::clone(&store), records).await;
            return Some(store);
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(
        file = %file.display(), error,
        "streams cannot be stored: no client can resume after a restart"
    );
    None
}
