//! Protobuf messages as their bytes. Fields are found by their numbers and replaced; everything else is copied as it
//! came, including what a newer engine or plugin may have added.

/// One field: its number, all of its bytes, and the content if it is a text, a message or bytes.
struct Field<'a> {
    number: u64,
    whole: &'a [u8],
    content: Option<&'a [u8]>,
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

/// Takes the first field off a message; None if the bytes hold none.
fn next<'a>(message: &mut &'a [u8]) -> Option<Field<'a>> {
    let start = *message;
    let key = varint(message)?;
    let mut content = None;
    match key & 7 {
        0 => drop(varint(message)?),
        1 => drop(take(message, 8)?),
        2 => {
            let length = varint(message)?;
            content = Some(take(message, length)?);
        }
        5 => drop(take(message, 4)?),
        _ => return None,
    }
    Some(Field { number: key >> 3, whole: &start[..start.len() - message.len()], content })
}

/// The content of a field; None if the message has none of this number.
pub(super) fn content(mut message: &[u8], number: u64) -> Option<&[u8]> {
    let mut found = None;
    while !message.is_empty() {
        let field = next(&mut message)?;
        if field.number == number {
            found = field.content.or(found);
        }
    }
    found
}

/// The text of a field, which is empty if it is absent.
pub(super) fn text(message: &[u8], number: u64) -> &str {
    content(message, number).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
}

/// Whether a flag is set.
pub(super) fn flag(mut message: &[u8], number: u64) -> bool {
    while let Some(field) = next(&mut message) {
        if field.number == number {
            return field.whole.last() != Some(&0);
        }
    }
    false
}

/// The message with other contents of some fields: those for which `change` gives one. Bytes that are no message stay
/// as they are, for their reader to complain about.
pub(super) fn replace(message: &[u8], mut change: impl FnMut(u64, &[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut changed = Vec::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let Some(field) = next(&mut rest) else { return message.to_vec() };
        match field.content.and_then(|content| change(field.number, content)) {
            Some(content) => put(&mut changed, field.number, &content),
            None => changed.extend_from_slice(field.whole),
        }
    }
    changed
}

/// Adds a field with a content.
fn put(message: &mut Vec<u8>, number: u64, content: &[u8]) {
    put_varint(message, number << 3 | 2);
    put_varint(message, content.len() as u64);
    message.extend_from_slice(content);
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::server::proto::pulumirpc::CreateRequest;

    fn message() -> CreateRequest {
        CreateRequest {
            urn: "u".repeat(300),
            timeout: 1.5,
            preview: true,
            r#type: "a:b:C".into(),
            properties: Some(Default::default()),
            ..Default::default()
        }
    }

    #[test]
    fn fields_are_found() {
        let bytes = message().encode_to_vec();
        assert_eq!((text(&bytes, 1), text(&bytes, 6)), (&*"u".repeat(300), "a:b:C"));
        assert_eq!((content(&bytes, 2), content(&bytes, 7)), (Some(&[][..]), None));
        assert!(flag(&bytes, 4) && !flag(&bytes, 9));
    }

    #[test]
    fn the_rest_stays_as_it_was() {
        let bytes = [message().encode_to_vec(), vec![0xfd, 0x3e, 1, 2, 3, 4]].concat();
        assert_eq!(replace(&bytes, |_, _| None), bytes);
        let changed = replace(&bytes, |number, _| (number == 1).then(|| b"urn".to_vec()));
        let expected = CreateRequest { urn: "urn".into(), ..message() };
        assert_eq!(CreateRequest::decode(&*changed).unwrap(), expected);
        assert!(changed.ends_with(&[1, 2, 3, 4]), "a field that nobody here knows");
    }

    #[test]
    fn what_is_no_message_stays_as_it_is() {
        for bytes in [&[0x0a, 9, 1][..], &[0x0b], &[0xff; 11], &[0x08]] {
            assert_eq!(replace(bytes, |_, _| Some(vec![])), bytes);
            assert_eq!(content(bytes, 1), None);
        }
    }
}
