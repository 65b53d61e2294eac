//! Long values in messages: a value is quoted so that it can be recognized, which does not take 10 MB.

/// A quoted value with more bytes than this is shortened.
const VALUE: usize = 1000;
/// How much is kept of its beginning and of its end.
const KEPT: (usize, usize) = (400, 100);
/// A message with more bytes than this is shortened, quoted or not. The output of a hook fits: 16 KiB of it are kept.
const MESSAGE: usize = 24 << 10;
const KEPT_OF_MESSAGE: (usize, usize) = (16 << 10, 4 << 10);

/// A message whose long values are cut in the middle; there it has the number of bytes left out.
pub fn shortened(text: String) -> String {
    if text.len() <= VALUE {
        return text;
    }
    let mut short = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['"', '`']) {
        let (before, from) = rest.split_at(at);
        let Some(length) = end_of_quoted(from) else { break };
        let (value, after) = from.split_at(length);
        short.push_str(before);
        push(&mut short, value, VALUE, KEPT);
        rest = after;
    }
    short.push_str(rest);
    let mut whole = String::new();
    push(&mut whole, &short, MESSAGE, KEPT_OF_MESSAGE);
    whole
}

/// The length of the quoted value that a text begins with, both quotes included.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut characters = text.char_indices();
    let (_, quote) = characters.next()?;
    let mut escaped = false;
    for (at, c) in characters {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

fn push(to: &mut String, text: &str, longest: usize, (first, last): (usize, usize)) {
    if text.len() <= longest {
        to.push_str(text);
        return;
    }
    let (head, rest) = text.split_at(text.floor_char_boundary(first));
    let (left_out, tail) = rest.split_at(rest.ceil_char_boundary(rest.len().saturating_sub(last)));
    to.push_str(head);
    to.push_str(&format!("[… {} bytes left out …]", left_out.len()));
    to.push_str(tail);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_messages_do_not_change() {
        for text in ["", "plain", "\"quoted\" and `quoted`", "an \"open end"] {
            assert_eq!(shortened(text.into()), text);
        }
        let many = "\"a value\", ".repeat(1000);
        assert_eq!(shortened(many.clone()), many);
        let said = format!("exit status 1, output: {}", "words and words\n".repeat(1000));
        assert_eq!(shortened(said.clone()), said);
    }

    #[test]
    fn a_long_value_is_cut_and_the_text_around_it_stays() {
        for unit in ["a", "é", "\\\"", "🛳"] {
            let value = unit.repeat(10 << 20);
            for quote in ['"', '`'] {
                let text = shortened(format!("hostname {quote}{value}{quote} is too long: \"64\" bytes"));
                assert!(text.len() < 700, "{}", text.len());
                assert!(text.starts_with(&format!("hostname {quote}{unit}")), "{text}");
                assert!(text.contains(" bytes left out …]"), "{text}");
                assert!(
                    text.ends_with(&format!("{unit}{quote} is too long: \"64\" bytes")),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_long_message_without_quotes_is_cut_too() {
        for text in ["x".repeat(10 << 20), format!("\"{}", "é".repeat(10 << 20))] {
            assert!(shortened(text).len() < 21 << 10);
        }
    }
}
