//! Reads the library's sources as far as it takes to know which file refers to which. No parser of Rust: comments, strings and
//! test modules are blanked, and what remains is searched for paths.

use std::collections::BTreeMap;
use std::path::Path;

/// One file of `src/`.
pub struct Source {
    /// Below `src/`.
    pub path: String,
    pub lines: usize,
    /// The text with comments, strings and test modules replaced by spaces; line numbers stay.
    pub code: String,
    /// Its place in the module tree: `["cgroup", "systemd"]`.
    module: Vec<String>,
}

/// All files of `src/` that belong to the library.
pub struct Tree {
    files: BTreeMap<String, Source>,
}

impl Source {
    /// The top-level module that it belongs to; empty for the library's root.
    pub fn top(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// The modules that it declares as files.
    pub fn declared(&self) -> Vec<&str> {
        let words = self.code.split_whitespace().collect::<Vec<_>>();
        words
            .windows(2)
            .filter(|pair| pair[0] == "mod")
            .filter_map(|pair| pair[1].strip_suffix(';'))
            .collect()
    }

    /// Every path that the file names, with its line: those of `use` items in full, others as they stand. A module that
    /// re-exports what its own files define does not depend on them by that.
    fn paths(&self) -> Vec<(usize, Vec<String>)> {
        let declared: Vec<String> = self.declared().into_iter().map(str::to_string).collect();
        let mut found = Vec::new();
        let mut rest = self.code.clone();
        while let Some(at) = find_word(&rest, "use") {
            let end = at + rest[at..].find(';').expect("the end of a use item");
            let line = 1 + rest[..at].matches('\n').count();
            let exported = rest[..at].trim_end().ends_with("pub");
            expand(&rest[at + 3..end], &[], &mut |path| {
                if !(exported && path.first().is_some_and(|first| declared.contains(first))) {
                    found.push((line, path));
                }
            });
            let blank: String = rest[at..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
            rest.replace_range(at..end, &blank);
        }
        for (number, text) in rest.lines().enumerate() {
            let path_char = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            for word in text.split(|c| !path_char(c)).filter(|word| word.contains("::")) {
                let path = word.split("::").filter(|part| !part.is_empty()).map(str::to_string);
                found.push((number + 1, path.collect()));
            }
        }
        found
    }

    /// What names stand for that the file imports.
    fn imports(&self) -> Vec<(String, Vec<String>)> {
        let mut found = Vec::new();
        let mut rest = self.code.as_str();
        while let Some(at) = find_word(rest, "use") {
            let end = at + rest[at..].find(';').expect("the end of a use item");
            expand(&rest[at + 3..end], &[], &mut |mut path: Vec<String>| {
                let alias = match path.iter().position(|part| part == "as") {
                    Some(at) => path.drain(at..).next_back(),
                    None => path.last().cloned(),
                };
                found.extend(alias.map(|alias| (alias, path)));
            });
            rest = &rest[end..];
        }
        found
    }

    /// Every function: its name, its line, and how many lines it has.
    pub fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(at) = find_word(&self.code[from..], "fn").map(|at| at + from) {
            from = at + 2;
            let name: String = self.code[from..]
                .trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let Some(open) = self.code[from..].find(['{', ';']).map(|open| open + from) else {
                continue;
            };
            if name.is_empty() || self.code.as_bytes()[open] == b';' {
                continue;
            }
            let end = open + block(&self.code[open..]);
            let line = |at: usize| 1 + self.code[..at].matches('\n').count();
            found.push((name, line(at), line(end) - line(at) + 1));
        }
        found
    }
}

impl Tree {
    pub fn read() -> Self {
        let mut files = BTreeMap::new();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
        // The program, which is not part of the library, and files of tests alone.
        files.retain(|path, _| path != "main.rs" && path != "entry.rs" && !path.ends_with("/tests.rs"));
        assert!(files.len() > 100);
        Tree { files }
    }

    pub fn files(&self) -> impl Iterator<Item = &Source> {
        self.files.values()
    }

    pub fn get(&self, path: &str) -> &Source {
        &self.files[path]
    }

    /// Every reference of one file to another: the line, and where what is named is defined.
    pub fn references(&self) -> Vec<(&Source, usize, &Source)> {
        let mut found = Vec::new();
        for source in self.files() {
            for (line, path) in source.paths() {
                if let Some(to) = self.target(source, &path, 0)
                    && to.path != source.path
                {
                    found.push((source, line, to));
                }
            }
        }
        found
    }

    /// The file that defines what a path in another file names; none if that is not in this crate.
    fn target(&self, from: &Source, path: &[String], depth: usize) -> Option<&Source> {
        let mut module = from.module.clone();
        let mut path = path.iter();
        let first = path.next()?;
        match first.as_str() {
            "crate" => module.clear(),
            "self" => {}
            "super" => drop(module.pop()),
            name => {
                module.push(name.to_string());
                // Without such a file the name is imported, and counted there.
                self.module(&module)?;
            }
        }
        let mut file = self.module(&module)?;
        for name in path {
            if name == "super" {
                module.pop();
                file = self.module(&module)?;
                continue;
            }
            module.push(name.clone());
            match self.module(&module) {
                Some(below) => file = below,
                None => {
                    let again = file.imports().into_iter().find(|(alias, _)| alias == name);
                    return match again {
                        Some((_, path)) if depth < 8 => self.target(file, &path, depth + 1),
                        _ => Some(file),
                    };
                }
            }
        }
        Some(file)
    }

    /// The file of a module.
    fn module(&self, module: &[String]) -> Option<&Source> {
        if module.is_empty() {
            return self.files.get("lib.rs");
        }
        let path = module.join("/");
        self.files
            .get(&format!("{path}.rs"))
            .or_else(|| self.files.get(&format!("{path}/mod.rs")))
    }
}

fn collect(directory: &Path, below: &str, files: &mut BTreeMap<String, Source>) {
    for entry in std::fs::read_dir(directory).expect("src") {
        let entry = entry.expect("src");
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let path = format!("{below}{name}");
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if let Some(module) = path.strip_suffix(".rs") {
            let text = std::fs::read_to_string(entry.path()).expect("a source file");
            let module = module.strip_suffix("/mod").unwrap_or(module);
            let module = if module == "lib" { "" } else { module };
            files.insert(
                path.clone(),
                Source {
                    lines: text.lines().count(),
                    code: without_tests(blanked(&text)),
                    module: module
                        .split('/')
                        .filter(|part| !part.is_empty())
                        .map(str::to_string)
                        .collect(),
                    path,
                },
            );
        }
    }
}

/// The text with spaces in the place of comments and of what is inside strings and character literals.
fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = skipped(rest);
        if skipped == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.extend(rest[..skipped].chars().map(|c| if c == '\n' { c } else { ' ' }));
            rest = &rest[skipped..];
        }
    }
    out
}

/// How many bytes a text begins with that are a comment or a literal.
fn skipped(text: &str) -> usize {
    let through = |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return through("*/", 2);
    }
    for hashes in ["", "#", "##"] {
        if text.starts_with(&format!("r{hashes}\"")) {
            return through(&format!("\"{hashes}"), 2 + hashes.len());
        }
    }
    let bytes = text.as_bytes();
    let quote = match bytes {
        [b'"', ..] => b'"',
        // A lifetime has no second quote.
        [b'\'', b'\\', ..] => b'\'',
        [b'\'', ..] => {
            let mut chars = text[1..].char_indices();
            let second = chars.nth(1).map_or(0, |(at, c)| if c == '\'' { at + 2 } else { 0 });
            return second;
        }
        _ => return 0,
    };
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            byte if *byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The code with spaces in the place of what is compiled for tests only.
fn without_tests(mut code: String) -> String {
    while let Some(at) = code.find("#[cfg(test)]") {
        let open = at + code[at..].find(['{', ';']).expect("what the attribute is for");
        let end = match code.as_bytes()[open] {
            b'{' => open + block(&code[open..]),
            _ => open + 1,
        };
        let blank: String = code[at..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        code.replace_range(at..end, &blank);
    }
    code
}

/// The length of a block that begins with a brace.
fn block(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// Where a word stands by itself.
fn find_word(text: &str, word: &str) -> Option<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .map(|(at, _)| at)
        .find(|at| !text[..*at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

/// The paths of a `use` tree. An alias stands as two more parts, `as` and the name.
fn expand(tree: &str, before: &[String], found: &mut impl FnMut(Vec<String>)) {
    let mut path = before.to_vec();
    let mut part = String::new();
    for (at, c) in tree.char_indices() {
        match c {
            '{' => {
                let inside = &tree[at + 1..at + block(&tree[at..]) - 1];
                for branch in branches(inside) {
                    if branch.trim() == "self" {
                        found(path.clone());
                    } else {
                        expand(branch, &path, &mut *found);
                    }
                }
                return;
            }
            ':' if !part.is_empty() => path.push(std::mem::take(&mut part)),
            c if c.is_whitespace() && part == "as" => path.push(std::mem::take(&mut part)),
            c if c.is_whitespace() && !part.is_empty() => path.push(std::mem::take(&mut part)),
            c if c.is_whitespace() || c == ':' => {}
            c => part.push(c),
        }
    }
    if !part.is_empty() {
        path.push(part);
    }
    found(path);
}

/// The parts between the commas of a tree that are not inside braces.
fn branches(tree: &str) -> Vec<&str> {
    let mut depth = 0;
    tree.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .filter(|branch| !branch.trim().is_empty())
    .collect()
}
