//! Regular expressions of the C library: regcomp(3), regexec(3).

use std::ffi::CString;

/// An extended regular expression (regex(7)).
pub struct Regex(libc::regex_t);

impl Regex {
    /// `regcomp(REG_EXTENDED | REG_NOSUB)`. On failure, what the C library says is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let c = CString::new(pattern).map_err(|_| "it contains a NUL byte".to_string())?;
        let mut compiled = std::mem::MaybeUninit::<libc::regex_t>::uninit();
        // SAFETY: the pattern is a C string, and compiled has room for what is written.
        let code = unsafe { libc::regcomp(compiled.as_mut_ptr(), c.as_ptr(), libc::REG_EXTENDED | libc::REG_NOSUB) };
        if code == 0 {
            // SAFETY: the call has succeeded, so it is written.
            return Ok(Regex(unsafe { compiled.assume_init() }));
        }
        let mut text = [0u8; 128];
        // SAFETY: text is valid for its length; without a compiled expression a null pointer is allowed.
        unsafe { libc::regerror(code, std::ptr::null(), text.as_mut_ptr().cast(), text.len()) };
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        Err(String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned())
    }

    /// Whether it matches any part of the text (`regexec`). What cannot be a C string matches nothing.
    pub fn matches(&self, text: &str) -> bool {
        let Ok(c) = CString::new(text) else { return false };
        // SAFETY: the expression is compiled, the text is a C string, and no places of matches are asked for.
        unsafe { libc::regexec(&self.0, c.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: compiled by regcomp, and freed once.
        unsafe { libc::regfree(&mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_expressions_match_any_part() {
        let table = [
            ("web", "my-web-1", true),
            ("^web", "my-web-1", false),
            ("^(a|b)[0-9]+$", "b17", true),
            ("^(a|b)[0-9]+$", "b17x", false),
            ("", "anything", true),
            ("a+", "aaa", true),
            ("\u{e9}", "x", false),
        ];
        for (pattern, text, matches) in table {
            assert_eq!(
                Regex::new(pattern).unwrap().matches(text),
                matches,
                "{pattern:?} {text:?}"
            );
        }
        assert!(!Regex::new(".").unwrap().matches("a\0"));
    }

    #[test]
    fn what_is_wrong_with_an_expression_is_said() {
        for pattern in ["(", "[", "a{2,1}", "\0"] {
            let said = Regex::new(pattern)
                .err()
                .unwrap_or_else(|| panic!("{pattern:?} was accepted"));
            assert!(!said.is_empty(), "{pattern:?}");
        }
    }
}
