//! The URL of a store, and its options.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::error::{Error, Result};

/// The URL of a store.
///
/// It may list several hosts with commas between them, for clusters. `Debug` and `Display` show the
/// scheme, hosts and path. They never show the user, the password or the options.
///
/// # Examples
///
/// ```
/// use lock_core::backend::ProviderUrl;
///
/// let url = ProviderUrl::parse("redis://app:s3cret@db-1:6380/2?prefix=app:")?;
/// assert_eq!(url.password().as_deref(), Some("s3cret"));
/// assert_eq!(url.options(&["prefix"])?.get("prefix"), Some("app:"));
/// assert_eq!(format!("{url} {url:?}"), "redis://db-1:6380/2 ProviderUrl(redis://db-1:6380/2)");
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ProviderUrl {
    /// The URL with the first host alone.
    url: Url,
    hosts: Vec<(String, Option<u16>)>,
}

impl ProviderUrl {
    /// Parses `scheme://[user[:password]@][host[:port],…][/path][?option=value&…]`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured) for a malformed URL. The
    /// message does not repeat the URL, which may contain a password.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::ProviderUrl;
    ///
    /// let url = ProviderUrl::parse("redis+cluster://app:s3cret@a:7000,b:7001/2")?;
    /// assert_eq!((url.scheme(), url.path().as_str()), ("redis+cluster", "/2"));
    /// assert_eq!(url.hosts(), [("a".to_owned(), Some(7000)), ("b".to_owned(), Some(7001))]);
    /// assert_eq!(url.username().as_deref(), Some("app"));
    ///
    /// assert!(ProviderUrl::parse("localhost").unwrap_err().is_misconfigured());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(Error::misconfigured(
                "not a provider URL; it looks like `scheme://host/path?option=value`",
            ));
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if tail.contains('@') {
            // Probably a password with a `/`, `?` or `#` in it, so nothing of it is repeated.
            return Err(Error::misconfigured(
                "the provider URL has an `@` after its host; write `/`, `?`, `#` and `@` in a \
                 password or option as `%2F`, `%3F`, `%23` and `%40`",
            ));
        }
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let one = |host: &str| {
            Url::parse(&format!("{scheme}://{user}{host}{tail}")).map_err(|source| {
                Error::misconfigured("the provider URL is malformed").with_source(source)
            })
        };
        let urls = hosts.split(',').map(one).collect::<Result<Vec<_>>>()?;
        let several = urls.len() > 1;
        let mut named = Vec::new();
        for url in &urls {
            match url.host_str() {
                Some(host) if !host.is_empty() => named.push((host.to_owned(), url.port())),
                _ if several => {
                    return Err(Error::misconfigured("the provider URL has an empty host"));
                }
                _ => {}
            }
        }
        let Some(url) = urls.into_iter().next() else {
            return Err(Error::misconfigured("the provider URL is malformed"));
        };
        if url.fragment().is_some() {
            return Err(Error::misconfigured(
                "the provider URL has a fragment; write `#` in a password or prefix as `%23`",
            ));
        }
        Ok(Self { url, hosts: named })
    }

    /// Returns the scheme, in lower case.
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// Returns the hosts and their ports, with IPv6 addresses in brackets.
    pub fn hosts(&self) -> &[(String, Option<u16>)] {
        &self.hosts
    }

    /// Returns the user name, decoded.
    pub fn username(&self) -> Option<String> {
        (!self.url.username().is_empty()).then(|| decoded(self.url.username()))
    }

    /// Returns the password, decoded.
    pub fn password(&self) -> Option<String> {
        self.url.password().map(decoded)
    }

    /// Returns the path with its leading slash, decoded.
    pub fn path(&self) -> String {
        decoded(self.url.path())
    }

    /// Refuses everything except the scheme, for stores that have nothing to configure.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured) for a URL with more than its
    /// scheme. The message says what to write instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::ProviderUrl;
    ///
    /// assert!(ProviderUrl::parse("scratch://")?.require_scheme_only().is_ok());
    /// let refused = ProviderUrl::parse("scratch://host")?.require_scheme_only().unwrap_err();
    /// assert!(refused.to_string().ends_with("write `scratch://` and nothing else"));
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn require_scheme_only(&self) -> Result<()> {
        let bare = format!("{}://", self.scheme());
        if self.url.as_str().trim_end_matches('/') == bare.trim_end_matches('/') {
            return Ok(());
        }
        Err(Error::misconfigured(format!(
            "this store has nothing to configure; write `{bare}` and nothing else"
        )))
    }

    /// Separates an option from the URL.
    pub(crate) fn without(&self, name: &str) -> Result<(Self, Option<String>)> {
        let (taken, kept): (Vec<_>, Vec<_>) =
            self.url.query_pairs().into_owned().partition(|(option, _)| option == name);
        let mut url = self.clone();
        url.url.set_query(None);
        if !kept.is_empty() {
            url.url.query_pairs_mut().extend_pairs(kept);
        }
        match taken.as_slice() {
            [] => Ok((url, None)),
            [(_, value)] => Ok((url, Some(value.clone()))),
            _ => Err(given_twice(name)),
        }
    }

    /// Returns the options, and refuses those that are not in `known`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured) for an unknown option, or for
    /// one that is given twice. The message lists the known options.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::ProviderUrl;
    ///
    /// let refused = ProviderUrl::parse("redis://h?prefx=a")?.options(&["prefix"]).unwrap_err();
    /// assert_eq!(refused.to_string(), "unknown option `prefx`; known are: prefix");
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn options(&self, known: &[&str]) -> Result<UrlOptions> {
        let mut options = BTreeMap::new();
        for (name, value) in self.url.query_pairs() {
            if !known.contains(&&*name) {
                // Only a plain name is repeated, because other text may be a piece of a secret.
                let looks_like_one = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                let shown = if looks_like_one { &name } else { "…" };
                return Err(Error::misconfigured(format!(
                    "unknown option `{shown}`; known are: {}",
                    listed(known)
                )));
            }
            if options.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(given_twice(&name));
            }
        }
        Ok(UrlOptions { options })
    }
}

fn given_twice(name: &str) -> Error {
    Error::misconfigured(format!("the option `{name}` is given twice"))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl fmt::Display for ProviderUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.url.scheme())?;
        for (n, (host, port)) in self.hosts.iter().enumerate() {
            f.write_str(if n > 0 { "," } else { "" })?;
            f.write_str(host)?;
            if let Some(port) = port {
                write!(f, ":{port}")?;
            }
        }
        f.write_str(self.url.path())
    }
}

impl fmt::Debug for ProviderUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProviderUrl({self})")
    }
}

/// The options of a [`ProviderUrl`].
///
/// # Examples
///
/// ```
/// use lock_core::backend::ProviderUrl;
/// use std::time::Duration;
///
/// let url = ProviderUrl::parse("redis://h?prefix=app:&timeout=250ms&checks=off")?;
/// let options = url.options(&["prefix", "timeout", "checks"])?;
/// assert_eq!(options.get("prefix"), Some("app:"));
/// assert_eq!(options.duration("timeout")?, Some(Duration::from_millis(250)));
/// assert_eq!(options.switch("checks")?, Some(false));
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct UrlOptions {
    options: BTreeMap<String, String>,
}

impl UrlOptions {
    /// Returns an option as text.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::ProviderUrl;
    ///
    /// let options = ProviderUrl::parse("redis://h?prefix=a%26b")?.options(&["prefix"])?;
    /// assert_eq!(options.get("prefix"), Some("a&b")); // decoded
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Returns an option as a time, such as `250ms`, `30s` or `1h 30m`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured) when it is not a time.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::ProviderUrl;
    ///
    /// let options = ProviderUrl::parse("redis://h?timeout=soon")?.options(&["timeout"])?;
    /// let refused = options.duration("timeout").unwrap_err();
    /// assert!(refused.to_string().contains("is not a time such as `250ms` or `30s`"));
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn duration(&self, name: &str) -> Result<Option<Duration>> {
        let parse = |text| {
            humantime::parse_duration(text).map_err(|source| {
                let message = format!("the option `{name}` is not a time such as `250ms` or `30s`");
                Error::misconfigured(message).with_source(source)
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// Returns an option that is `on` or `off`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured) when it is neither.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::ProviderUrl;
    ///
    /// let options = ProviderUrl::parse("redis://h?checks=off")?.options(&["checks"])?;
    /// assert_eq!(options.switch("checks")?, Some(false));
    /// assert_eq!(options.switch("other")?, None);
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn switch(&self, name: &str) -> Result<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some("on") => Ok(Some(true)),
            Some("off") => Ok(Some(false)),
            Some(_) => Err(Error::misconfigured(format!("the option `{name}` is `on` or `off`"))),
        }
    }
}

impl fmt::Debug for UrlOptions {
    /// Shows the names only, because a value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.options.keys()).finish()
    }
}

/// Joins names for a message.
pub(crate) fn listed(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_store_without_settings_refuses_everything_but_its_scheme() {
        assert!(ProviderUrl::parse("map://").unwrap().require_scheme_only().is_ok());
        for more in ["map://host", "map:///path", "map://?a=b", "map://user@host"] {
            let refused = ProviderUrl::parse(more).unwrap().require_scheme_only().unwrap_err();
            let expected = "this store has nothing to configure; write `map://` and nothing else";
            assert_eq!(refused.to_string(), expected, "{more}");
        }
    }

    #[test]
    fn several_hosts_keep_their_ports_and_share_user_and_path() {
        let url = ProviderUrl::parse("redis+cluster://u:p@h1:7000,[::1]:7001,h3/x").unwrap();
        let hosts = [("h1".into(), Some(7000)), ("[::1]".into(), Some(7001)), ("h3".into(), None)];
        assert_eq!(url.hosts(), hosts);
        assert_eq!((url.username().unwrap(), url.password().unwrap()), ("u".into(), "p".into()));
        assert_eq!(url.to_string(), "redis+cluster://h1:7000,[::1]:7001,h3/x");
        assert_eq!(ProviderUrl::parse("memory://").unwrap().hosts(), []);
    }

    #[test]
    fn malformed_urls_are_refused_without_showing_a_password() {
        for bad in [
            "",
            "localhost",
            "redis:localhost",
            "redis://u:hunter2@h:port",
            "redis://u:hunter2@h1,,h2",
            "redis://u:hunter2@h/#x",
            "redis://u:1?hunter2@h",
            "redis://u:1/hunter2@h",
            "redis://u:1#hunter2@h",
            "re dis://u:hunter2@h",
        ] {
            let error = ProviderUrl::parse(bad).unwrap_err();
            assert!(error.is_misconfigured(), "{bad}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn bl36_unknown_and_repeated_options_are_refused_with_a_list_of_the_known_ones() {
        let options = |text| ProviderUrl::parse(text).unwrap().options(&["prefix", "checks"]);
        assert_eq!(
            options("redis://h?prefx=a").unwrap_err().to_string(),
            "unknown option `prefx`; known are: prefix, checks"
        );
        assert!(options("redis://h?prefix=a&prefix=b").unwrap_err().to_string().contains("twice"));
        let parsed = options("redis://h?prefix=a%26b&checks=off").unwrap();
        assert_eq!(parsed.get("prefix"), Some("a&b"));
        assert_eq!(parsed.switch("checks").unwrap(), Some(false));
        assert!(parsed.duration("prefix").unwrap_err().is_misconfigured());
        assert!(!format!("{parsed:?}").contains("a&b"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}", tail in ".{0,40}") {
            let _ = ProviderUrl::parse(&text);
            if let Ok(url) = ProviderUrl::parse(&format!("redis://{tail}")) {
                let _ = (url.options(&[]), url.path(), url.password(), url.to_string());
            }
        }
    }
}
