//! A new password in the entry of a users file, in every form in which the entry keeps one.

use crate::edit::edit;
use anyhow::{anyhow, bail};
use gateway_core::factor::NewPassword;
use gateway_core::factor::mschap::NtHash;
use gateway_core::factor::users::{Allowed, Users};
use gateway_core::identity::Rules;
use gateway_core::secret::Secret;
use std::path::Path;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value, value};

/// Sets the password that a user has brought with the old one, whose hash is `hash`, and with it ends that the password has expired. It
/// blocks on the disk.
///
/// # Errors
///
/// The entry is gone, barred or has another password by now, or the file cannot be replaced; then nothing was changed.
pub(crate) fn change(
    path: &Path,
    rules: &Rules,
    user: &str,
    password: &NewPassword,
    hash: String,
) -> anyhow::Result<()> {
    edit_users(path, rules, |document| {
        let gone = || anyhow!("{user} is no longer in {}", path.display());
        let entry = entries(document)?.iter_mut().find(|entry| is_about(entry, rules, user)).ok_or_else(gone)?;
        let set = |key: &str| entry.get(key).and_then(Item::as_bool) == Some(true);
        if set("disabled") || set("locked") {
            bail!("{user} was barred meanwhile");
        }
        if stored_nt_hash(entry).as_ref() != Some(&password.old) {
            bail!("the password of {user} was changed meanwhile");
        }
        if entry.contains_key("password_plain") {
            let text = std::str::from_utf8(password.new.expose()).map_err(|_| anyhow!("the password is no text"))?;
            put(entry, "password_plain", text.into());
        }
        if entry.contains_key("password") {
            put(entry, "password", hash.into());
        }
        if entry.contains_key("nt_hash") {
            put_nt_hash(entry, &password.new)?;
        }
        entry.remove("password_expires");
        Ok(())
    })
}

/// Changes a users file.
///
/// # Errors
///
/// As [`edit`].
pub(crate) fn edit_users<T>(
    path: &Path,
    rules: &Rules,
    change: impl FnOnce(&mut DocumentMut) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    // Which forms may stand there is the gateway's to say.
    edit(path, |text| Users::parse(text, Allowed::ALL, rules).map(drop), change)
}

/// Writes the NT hash of `password`.
///
/// # Errors
///
/// The password is no text.
pub(crate) fn put_nt_hash(entry: &mut Table, password: &Secret) -> anyhow::Result<()> {
    let hash = NtHash::of(password).ok_or_else(|| anyhow!("the password is no text, and has no NT hash"))?;
    put(entry, "nt_hash", hash.to_hex().as_str().into());
    Ok(())
}

/// Writes a value; a comment behind it stays.
pub(crate) fn put(entry: &mut Table, key: &str, new: Value) {
    match entry.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = new;
            *old.decor_mut() = decor;
        }
        None => {
            entry.insert(key, value(new));
        }
    }
}

/// Whether an entry is about the user of that canonical name.
pub(crate) fn is_about(entry: &Table, rules: &Rules, user: &str) -> bool {
    let name = entry.get("name").and_then(Item::as_str);
    name.and_then(|name| rules.read(name.as_bytes()).ok()).is_some_and(|identity| identity.canonical == user)
}

fn entries(document: &mut DocumentMut) -> anyhow::Result<&mut ArrayOfTables> {
    let found = document.get_mut("users").and_then(Item::as_array_of_tables_mut);
    found.ok_or_else(|| anyhow!("`users` is not written as [[users]] entries"))
}

fn stored_nt_hash(entry: &Table) -> Option<NtHash> {
    let text = |key: &str| entry.get(key).and_then(Item::as_str).map(|text| Secret::new(text.as_bytes().to_vec()));
    match text("nt_hash") {
        Some(hash) => NtHash::from_hex(&hash),
        None => NtHash::of(&text("password_plain")?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::hashing::hash_password;
    use std::fs;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    fn rules() -> Rules {
        Rules { default_realm: Some("corp.example".into()), ..Rules::default() }
    }

    /// The file after a change from one password to another, or the fault.
    fn changed(rest: &str, old: &str, new: &str) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        fs::write(&path, format!("[[users]]\nname = \"Alice\" # of sales\n{rest}\n")).unwrap();
        let password = NewPassword { old: NtHash::of(&secret(old)).unwrap(), new: secret(new) };
        let hash = hash_password(&password.new).unwrap();
        change(&path, &rules(), "alice@corp.example", &password, hash).map_err(|error| format!("{error:#}"))?;
        Ok(fs::read_to_string(&path).unwrap())
    }

    #[test]
    fn every_form_is_renewed_and_nothing_else() {
        let old = NtHash::of(&secret("old")).unwrap().to_hex();
        let text = changed(
            &format!(
                "password_plain = \"old\" # lab\nnt_hash = \"{}\"\npassword_expires = \"2020-01-01T00:00Z\"",
                *old
            ),
            "old",
            "new password",
        )
        .unwrap();
        let new = NtHash::of(&secret("new password")).unwrap().to_hex();
        let wanted = format!(
            "[[users]]\nname = \"Alice\" # of sales\npassword_plain = \"new password\" # lab\nnt_hash = \"{}\"\n",
            *new
        );
        assert_eq!(text, wanted);
        let hashed = hash_password(&secret("old")).unwrap();
        let text = changed(&format!("password = \"{hashed}\"\nnt_hash = \"{}\"", *old), "old", "new").unwrap();
        assert!(!text.contains(&hashed) && text.contains("$argon2id$") && !text.contains("plain"), "{text}");
    }

    #[test]
    fn whoever_changed_the_entry_meanwhile_has_the_last_word() {
        let fault = |rest: &str| changed(rest, "old", "new").unwrap_err();
        assert!(fault("password_plain = \"reset\"").contains("was changed meanwhile"));
        assert!(fault("password_plain = \"old\"\nlocked = true").contains("was barred meanwhile"));
        assert!(fault("password_plain = \"old\"\ndisabled = true").contains("was barred meanwhile"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        fs::write(&path, "[[users]]\nname = \"bob\"\npassword_plain = \"old\"\n").unwrap();
        let password = NewPassword { old: NtHash::of(&secret("old")).unwrap(), new: secret("new") };
        let fault = change(&path, &rules(), "alice@corp.example", &password, String::new()).unwrap_err().to_string();
        assert!(fault.contains("no longer"), "{fault}");
    }
}
