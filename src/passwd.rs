//! The format of /etc/passwd, see passwd(5). The C library's lookup is not used: it loads shared objects, in a container those
//! of the image.

/// A user of the file.
#[derive(Debug, PartialEq, Eq)]
pub struct User<'a> {
    pub name: &'a str,
    pub uid: u32,
    /// The home directory; none in a line that ends before it, or if the field is empty.
    pub home: Option<&'a str>,
}

/// All users, in the order of the lines. Lines without a name and a numeric user ID are skipped.
pub fn users(text: &str) -> impl Iterator<Item = User<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?;
        // Only digits: "+0" is a mark of NIS, not a number.
        let uid = uid.bytes().all(|byte| byte.is_ascii_digit()).then(|| uid.parse())?;
        Some(User {
            name,
            uid: uid.ok()?,
            home: fields.nth(2).filter(|home| !home.is_empty()),
        })
    })
}

/// The name of a user.
pub fn name_of(text: &str, uid: u32) -> Option<&str> {
    users(text).find(|user| user.uid == uid).map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_by_the_rules_of_passwd() {
        let text = "+0:x:+0:0::/:\nroot:x:0:0:r:/root:/bin/sh\nshort:x:7:7\nempty:x:8:8::::\nbad\nbad:x:-1:\nbig:x:4294967296:\n";
        let all: Vec<_> = users(text).map(|user| (user.name, user.uid, user.home)).collect();
        assert_eq!(
            all,
            [("root", 0, Some("/root")), ("short", 7, None), ("empty", 8, None)]
        );
        assert_eq!(name_of(text, 0), Some("root"));
        assert_eq!(name_of(text, 9), None);
    }
}
