//! Where in S3 a store is.

/// A bucket, a prefix in it, and the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The bucket.
    pub bucket: String,
    /// Before every key; empty, or ends with `/`.
    pub prefix: String,
    /// Another server than Amazon's, `http://host:port`.
    pub endpoint: Option<String>,
    /// Its region; unset: as the environment says.
    pub region: Option<String>,
}

/// Why a text is no place in S3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place in S3: s3://BUCKET or s3://BUCKET/PREFIX is expected")]
pub struct BadLocation(String);

impl Location {
    /// Reads `s3://bucket/prefix`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn new(url: &str, endpoint: Option<String>, region: Option<String>) -> Result<Self, BadLocation> {
        let bad = || BadLocation(url.to_owned());
        let rest = url.strip_prefix("s3://").ok_or_else(bad)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if bucket.is_empty() || !bucket.chars().all(named) {
            return Err(bad());
        }
        if !prefix.is_empty() && prefix.split('/').any(|name| name.is_empty() || name.starts_with('.')) {
            return Err(bad());
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { bucket: bucket.to_owned(), prefix, endpoint, region })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_and_a_prefix_are_read() {
        let read = |url| Location::new(url, None, None).map(|l| (l.bucket, l.prefix));
        assert_eq!(read("s3://bucket"), Ok(("bucket".into(), String::new())));
        assert_eq!(read("s3://my.bucket-1/a/b/"), Ok(("my.bucket-1".into(), "a/b/".into())));
        for bad in ["bucket", "s3://", "s3:///x", "s3://Bucket", "s3://b/a//c", "s3://b/../c", "http://b/c"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
