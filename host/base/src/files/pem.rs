//! The blocks of a PEM file (RFC 7468), each with its label.
//!
//! Files often have several blocks: a chain of certificates, a key behind its certificate, the text
//! that `openssl` puts in front of each. So an unwanted block is no mistake, and a damaged one does
//! not hide the others.

use crate::text::clean;

/// Text in front of a label.
const BEGIN: &str = "-----BEGIN ";

/// A block of a PEM file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Label, such as `CERTIFICATE` or `PUBLIC KEY`.
    pub label: String,
    /// Content in DER, or the reason why it cannot be read.
    pub der: Result<Vec<u8>, BlockError>,
}

/// Reason why the content of a block cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The content is encrypted with a password.
    #[error("it is encrypted with a password, which the gateway does not have")]
    Encrypted,
    /// The block has no end, or its content is not Base64.
    #[error("it is damaged: it ends too early, or is not Base64")]
    Damaged,
}

/// All blocks of a file, in order. Empty if the text is not PEM.
#[must_use]
pub fn blocks(text: &str) -> Vec<Block> {
    let mut begins: Vec<usize> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
    begins.push(text.len());
    begins
        .windows(2)
        .filter_map(|window| block(text.get(*window.first()?..*window.last()?)?))
        .collect()
}

fn block(text: &str) -> Option<Block> {
    let (label, _) = text.strip_prefix(BEGIN)?.split_once("-----")?;
    // RFC 1421, section 4.6.1.1, as OpenSSL still writes it; and RFC 7468, section 11.
    let is_encrypted = text.contains("Proc-Type: 4,ENCRYPTED") || label == "ENCRYPTED PRIVATE KEY";
    let der = if is_encrypted {
        Err(BlockError::Encrypted)
    } else {
        ::pem::parse(text)
            .map(::pem::Pem::into_contents)
            .map_err(|_| BlockError::Damaged)
    };
    Some(Block {
        label: clean(label, 40),
        der,
    })
}

/// Whether bytes are DER, the encoding inside a PEM block.
#[must_use]
pub fn is_der(bytes: &[u8]) -> bool {
    // A sequence with a length of its own (X.690, section 8.1.3.5).
    matches!(bytes, [0x30, 0x81..=0x84, ..])
}

/// The labels of some blocks, for a report.
#[must_use]
pub fn labels(blocks: &[Block]) -> String {
    let labels: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
    crate::text::clip(&labels.join(", "), 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_found_and_a_broken_one_hides_no_other() {
        let text = "subject=CN = a\r\n-----BEGIN CERTIFICATE-----\r\nAAEC\r\n-----END CERTIFICATE-----\r\n\
                    -----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n\
                    -----BEGIN CERTIFICATE-----\nAAEC\n\
                    -----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nAAEC\n\
                    -----END RSA PRIVATE KEY-----\n\
                    -----BEGIN ENCRYPTED PRIVATE KEY-----\nAAEC\n-----END ENCRYPTED PRIVATE KEY-----\n\
                    -----BEGIN PUBLIC KEY-----\nAAEC\n-----END PUBLIC KEY-----";
        let (damaged, encrypted) = (Err(BlockError::Damaged), Err(BlockError::Encrypted));
        let found: Vec<_> = blocks(text)
            .into_iter()
            .map(|block| (block.label, block.der))
            .collect();
        let whole = || Ok(vec![0, 1, 2]);
        let expected = [
            ("CERTIFICATE", whole()),
            ("CERTIFICATE", damaged.clone()),
            ("CERTIFICATE", damaged),
            ("RSA PRIVATE KEY", encrypted.clone()),
            ("ENCRYPTED PRIVATE KEY", encrypted),
            ("PUBLIC KEY", whole()),
        ];
        assert_eq!(found, expected.map(|(label, der)| (label.to_owned(), der)));
        assert_eq!(blocks("no PEM"), []);
        assert_eq!(blocks("-----BEGIN"), []);
    }

    #[test]
    fn der_is_told_from_pem() {
        assert!(is_der(&[0x30, 0x82, 1, 10]));
        assert!(!is_der(b"-----BEGIN CERTIFICATE-----"));
        assert!(!is_der(b""));
    }
}
