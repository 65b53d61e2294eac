//! Reads JSON into the types of the spec, and notes what these types do not tell.
//!
//! serde's types ignore a key that they do not know, fill in a default for one that is missing, accept the list of an
//! object's values in place of the object, and give only the line of a mistake. This reader stands between the JSON and
//! the types. It knows its place in the document, refuses lists in place of objects, and notes every key that a type
//! ignores and every required key that is missing in [`Notes`]. For keys that the types know this costs only a few words
//! of stack.
//!
//! serde stops at the first mistake. To find the others, the document is read again without the values that were wrong.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};

use super::keys;

/// One step down in a document: a key, or a place in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// A place in a document as text: `linux.namespaces[2].type`; empty for the document itself.
pub fn text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text += key,
            Step::Key(key) => text += &format!(".{key}"),
            Step::Index(index) => text += &format!("[{index}]"),
        }
    }
    text
}

/// What was seen while a document was read.
#[derive(Debug, Default)]
pub struct Notes {
    /// The innermost value that could not be read. None if all could, or if the text is not JSON.
    pub mistake: Option<Vec<Step>>,
    /// Keys that no type knows, and advice about those that look like a known one.
    pub unknown: Vec<(Vec<Step>, Option<String>)>,
    /// Keys that the spec requires and that a type fills in.
    pub missing: Vec<Vec<Step>>,
}

/// How a document is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOptions<'a> {
    /// Note unknown and missing keys. A type that has only some of the document's keys cannot do that.
    pub all_keys: bool,
    /// Values to pass over, as if they were not there.
    pub without: &'a [Vec<Step>],
}

/// Reads a document.
pub fn read<'de, T: Deserialize<'de>>(text: &'de str, options: ReadOptions) -> (serde_json::Result<T>, Notes) {
    let watch = Watch {
        options,
        notes: RefCell::default(),
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = T::deserialize(Reader {
        inner: &mut json,
        place: Place::Document,
        watch: &watch,
        within: None,
    });
    let read = read.and_then(|value| json.end().map(|()| value));
    (read, watch.notes.into_inner())
}

struct Watch<'a> {
    options: ReadOptions<'a>,
    notes: RefCell<Notes>,
}

impl Watch<'_> {
    fn is_left_out(&self, place: Place) -> bool {
        !self.options.without.is_empty() && self.options.without.contains(&place.path())
    }

    #[cold]
    fn failed(&self, place: Place) {
        self.notes.borrow_mut().mistake.get_or_insert_with(|| place.path());
    }

    #[cold]
    fn passed_over(&self, place: Place, within: Object) {
        let Place::Key(_, key) = place else { return };
        let advice = keys::advice(key, within.name, within.keys);
        self.notes.borrow_mut().unknown.push((place.path(), advice));
    }

    #[cold]
    fn missed(&self, place: Place) {
        self.notes.borrow_mut().missing.push(place.path());
    }
}

/// The reader's place, as a chain up to the document.
#[derive(Clone, Copy)]
enum Place<'a> {
    Document,
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn path(&self) -> Vec<Step> {
        let (mut path, last) = match self {
            Place::Document => return Vec::new(),
            Place::Key(above, key) => (above.path(), Step::Key((*key).into())),
            Place::Index(above, index) => (above.path(), Step::Index(*index)),
        };
        path.push(last);
        path
    }
}

/// A type with fields: its name, and the keys that it knows.
#[derive(Clone, Copy)]
struct Object {
    name: &'static str,
    keys: &'static [&'static str],
}

struct Reader<'a, D> {
    inner: D,
    place: Place<'a>,
    watch: &'a Watch<'a>,
    /// The type around this value.
    within: Option<Object>,
}

impl<'a, D> Reader<'a, D> {
    fn parts<V>(self, visitor: V, object: Option<Object>) -> (D, Watching<'a, V>) {
        let watching = Watching {
            visitor,
            place: self.place,
            watch: self.watch,
            object,
        };
        (self.inner, watching)
    }
}

/// Values that contain no others go straight to their type.
macro_rules! straight {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($argument,)* visitor)
        }
    )*};
}

macro_rules! watched {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let (inner, watching) = self.parts(visitor, None);
            inner.$method($($argument,)* watching)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Reader<'_, D> {
    type Error = D::Error;

    straight! {
        deserialize_bool(); deserialize_i8(); deserialize_i16(); deserialize_i32(); deserialize_i64();
        deserialize_u8(); deserialize_u16(); deserialize_u32(); deserialize_u64();
        deserialize_f32(); deserialize_f64(); deserialize_char(); deserialize_str(); deserialize_string();
        deserialize_bytes(); deserialize_byte_buf(); deserialize_unit(); deserialize_identifier();
        deserialize_unit_struct(name: &'static str);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    watched! {
        deserialize_any(); deserialize_option(); deserialize_seq(); deserialize_map();
        deserialize_newtype_struct(name: &'static str);
        deserialize_tuple(length: usize);
        deserialize_tuple_struct(name: &'static str, length: usize);
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let (inner, watching) = self.parts(visitor, Some(Object { name, keys }));
        inner.deserialize_struct(name, keys, watching)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        if let Some(within) = self.within.filter(|_| self.watch.options.all_keys) {
            self.watch.passed_over(self.place, within);
        }
        self.inner.deserialize_ignored_any(visitor)
    }
}

/// A type that receives what was read.
struct Watching<'a, V> {
    visitor: V,
    place: Place<'a>,
    watch: &'a Watch<'a>,
    /// Set if it is a type with fields.
    object: Option<Object>,
}

impl<'a, V> Watching<'a, V> {
    fn parts<D>(self, inner: D) -> (V, Reader<'a, D>) {
        let reader = Reader {
            inner,
            place: self.place,
            watch: self.watch,
            within: None,
        };
        (self.visitor, reader)
    }
}

macro_rules! scalar {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.visitor.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watching<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.object {
            Some(_) => f.write_str("an object"),
            None => self.visitor.expecting(f),
        }
    }

    scalar! {
        visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str,
        visit_borrowed_str: &'de str, visit_string: String,
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let (visitor, reader) = self.parts(inner);
        visitor.visit_some(reader)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let (visitor, reader) = self.parts(inner);
        visitor.visit_newtype_struct(reader)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        // A type with fields would accept the values of a list one after the other.
        if self.object.is_some() {
            return Err(A::Error::invalid_type(Unexpected::Seq, &"an object"));
        }
        self.visitor.visit_seq(Items {
            inner,
            place: self.place,
            watch: self.watch,
            index: 0,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let required = match self.object {
            Some(object) if self.watch.options.all_keys => keys::required(object.name),
            _ => &[],
        };
        self.visitor.visit_map(Fields {
            inner,
            place: self.place,
            watch: self.watch,
            object: self.object,
            key: Cow::Borrowed(""),
            required,
            seen: 0,
        })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(inner)
    }
}

struct Items<'a, A> {
    inner: A,
    place: Place<'a>,
    watch: &'a Watch<'a>,
    index: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        while self.watch.is_left_out(Place::Index(&self.place, self.index)) {
            if self.inner.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
            self.index += 1;
        }
        let place = Place::Index(&self.place, self.index);
        let below = Below {
            seed,
            place,
            watch: self.watch,
            within: None,
        };
        let read = self.inner.next_element_seed(below);
        if read.is_err() {
            self.watch.failed(place);
        }
        self.index += 1;
        read
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

struct Fields<'a, 'de, A> {
    inner: A,
    place: Place<'a>,
    watch: &'a Watch<'a>,
    object: Option<Object>,
    /// The key of the next value.
    key: Cow<'de, str>,
    required: &'static [&'static str],
    /// Which of `required` were there, one bit each.
    seen: u32,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let found = if self.watch.options.without.is_empty() {
            self.inner.next_key_seed(Key {
                seed,
                key: &mut self.key,
            })?
        } else {
            self.next_key_left(seed)?
        };
        if self.required.is_empty() {
            return Ok(found);
        }
        let bits = (0..).map(|bit| 1u32 << bit).zip(self.required);
        if found.is_some() {
            self.seen |= bits
                .filter(|(_, key)| **key == self.key)
                .map(|(bit, _)| bit)
                .sum::<u32>();
        } else {
            for (_, key) in bits.filter(|(bit, _)| self.seen & bit == 0) {
                self.watch.missed(Place::Key(&self.place, key));
            }
        }
        Ok(found)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let place = Place::Key(&self.place, &self.key);
        let below = Below {
            seed,
            place,
            watch: self.watch,
            within: self.object,
        };
        let read = self.inner.next_value_seed(below);
        if read.is_err() {
            self.watch.failed(place);
        }
        read
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> Fields<'_, 'de, A> {
    /// The next key of a value that is not passed over.
    #[cold]
    fn next_key_left<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.inner.next_key::<String>()? {
            if self.watch.is_left_out(Place::Key(&self.place, &key)) {
                self.inner.next_value::<IgnoredAny>()?;
                // A required key with a wrong value is not missing.
                self.see(&key);
                continue;
            }
            let found = seed.deserialize(key.as_str().into_deserializer())?;
            self.key = Cow::Owned(key);
            return Ok(Some(found));
        }
        Ok(None)
    }

    fn see(&mut self, key: &str) {
        let bits = (0..).map(|bit| 1u32 << bit).zip(self.required);
        self.seen |= bits
            .filter(|(_, required)| **required == key)
            .map(|(bit, _)| bit)
            .sum::<u32>();
    }
}

/// A value inside a list or an object.
struct Below<'a, S> {
    seed: S,
    place: Place<'a>,
    watch: &'a Watch<'a>,
    within: Option<Object>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Below<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.seed.deserialize(Reader {
            inner,
            place: self.place,
            watch: self.watch,
            within: self.within,
        })
    }
}

/// A key, which is kept for [`Place`] on its way to the type.
struct Key<'k, 'de, S> {
    seed: S,
    key: &'k mut Cow<'de, str>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, 'de, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        inner.deserialize_str(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Key<'_, 'de, S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: de::Error>(self, key: &'de str) -> Result<S::Value, E> {
        *self.key = Cow::Borrowed(key);
        self.seed.deserialize(BorrowedStrDeserializer::new(key))
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<S::Value, E> {
        *self.key = Cow::Owned(key.into());
        self.seed.deserialize(key.into_deserializer())
    }
}
