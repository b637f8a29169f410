//! What must be true of a server before locks are put on it.

use lock_core::{Error, ErrorKind, Result};
use redis::InfoDict;

const OLDEST_MAJOR: u32 = 7;

/// Refuses a server that is too old, cannot write, or may throw locks away.
pub(crate) fn check_server(info: &InfoDict) -> Result<()> {
    let refuse = |message: String| Err(Error::new(ErrorKind::Misconfigured, message));
    let text = |name| info.get::<String>(name).unwrap_or_default();

    let version = text("redis_version");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_MAJOR) {
        return refuse(format!(
            "the server has version `{version}`; use Redis 7 or Valkey, or later"
        ));
    }
    let role = text("role");
    if role != "master" {
        return refuse(format!(
            "the server is a `{role}`, which cannot take locks; connect to its master"
        ));
    }
    let policy = text("maxmemory_policy");
    if policy != "noeviction" {
        return refuse(format!(
            "the server's maxmemory-policy is `{policy}`: under memory pressure it throws held locks \
             away; set it to `noeviction`, or turn the check off with `server_checks=off`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &str) -> String {
        let good = "redis_version:7.0.15\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n";
        let mut info = good.to_owned();
        for line in lines.lines() {
            let name = line.split(':').next().unwrap();
            let kept = info.lines().filter(|one| !one.starts_with(name));
            info = kept.chain([line]).collect::<Vec<_>>().join("\r\n");
        }
        match check_server(&InfoDict::new(&info)) {
            Ok(()) => "fine".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn row_27_a_server_that_may_lose_locks_is_refused_with_the_remedy() {
        assert_eq!(check(""), "fine");
        assert!(check("maxmemory_policy:volatile-ttl").contains("set it to `noeviction`"));
        assert!(check("role:slave").contains("connect to its master"));
        assert!(check("redis_version:6.2.1").contains("use Redis 7"));
        assert!(check("redis_version:what").contains("use Redis 7"));
    }
}
