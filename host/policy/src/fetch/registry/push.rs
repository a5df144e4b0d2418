//! Bringing an artifact (OCI distribution specification, "Push").

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, Response, StatusCode, Url};

use super::super::FetchError;
use super::{Registry, location};

/// Media type of the manifest of one artifact.
pub(in super::super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of bytes.
const BYTES: &str = "application/octet-stream";

/// Something that is sent.
struct Content<'a> {
    media_type: &'static str,
    bytes: &'a [u8],
}

impl Registry<'_> {
    /// Brings a blob, unless the repository has it.
    pub(in super::super) async fn push_blob(
        &mut self,
        bytes: &[u8],
        digest: &str,
    ) -> Result<(), FetchError> {
        let there = self.url(&format!("blobs/sha256:{digest}"))?;
        let there = self.send(&Method::HEAD, &there, None).await?;
        if there.status() == StatusCode::OK {
            return Ok(());
        }
        let begin = self.url("blobs/uploads/")?;
        let begun = self.send(&Method::POST, &begin, None).await?;
        let to = match begun.status() {
            StatusCode::ACCEPTED => location(&begun),
            status => return Err(self.not_taken(status)),
        };
        let mut to = to.ok_or_else(|| self.not_taken(StatusCode::ACCEPTED))?;
        to.query_pairs_mut()
            .append_pair("digest", &format!("sha256:{digest}"));
        let media_type = BYTES;
        let content = Content { media_type, bytes };
        let sent = self.send(&Method::PUT, &to, Some(content)).await?;
        self.taken(&sent)
    }

    /// Brings a manifest under a tag or a digest. What it names must be there.
    pub(in super::super) async fn push_manifest(
        &mut self,
        bytes: &[u8],
        name: &str,
    ) -> Result<(), FetchError> {
        let to = self.url(&format!("manifests/{name}"))?;
        let media_type = MANIFEST;
        let content = Content { media_type, bytes };
        let sent = self.send(&Method::PUT, &to, Some(content)).await?;
        self.taken(&sent)
    }

    /// Sends a request, again with who we are where the registry asks for that. Storage elsewhere,
    /// which a registry may name for an upload, learns nothing of it.
    async fn send(
        &mut self,
        method: &Method,
        url: &Url,
        content: Option<Content<'_>>,
    ) -> Result<Response, FetchError> {
        let is_own = url.origin() == self.url("")?.origin();
        // A token may run out while a large component is sent, so each request may ask for another.
        let mut asked_before = false;
        loop {
            let authorization = self.authorization.clone().filter(|_| is_own);
            let mut request = self.http()?.request(method.clone(), url.clone());
            if let Some(Content { media_type, bytes }) = &content {
                let request_with_type = request.header(CONTENT_TYPE, *media_type);
                request = request_with_type.body(bytes.to_vec());
            } else {
                // Some registries answer 411 to a POST without it.
                request = request.header(CONTENT_LENGTH, 0);
            }
            if let Some(authorization) = authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = request.send().await;
            let response = response.map_err(|error| self.unreachable(error))?;
            if response.status() != StatusCode::UNAUTHORIZED || asked_before || !is_own {
                return Ok(response);
            }
            self.authorize(response.headers()).await?;
            asked_before = true;
        }
    }

    fn taken(&self, response: &Response) -> Result<(), FetchError> {
        match response.status() {
            StatusCode::CREATED => Ok(()),
            status => Err(self.not_taken(status)),
        }
    }

    fn not_taken(&self, status: StatusCode) -> FetchError {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.refusal(status),
            status => FetchError::NotTaken {
                host: self.reference.host.clone(),
                status: status.as_u16(),
            },
        }
    }
}
