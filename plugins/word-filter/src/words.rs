//! The configured words, and where they stand in a row of letters.

/// The longest word or phrase, in characters; its count's key must stay short.
const LONGEST: usize = 60;

/// One character of a body and the bytes that spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letter {
    /// The character.
    pub character: char,
    /// Where its bytes begin.
    pub start: usize,
    /// Where they end.
    pub end: usize,
}

/// Words to look for, without regard to case.
#[derive(Debug)]
pub struct Words {
    names: Vec<String>,
    folded: Vec<Vec<char>>,
    /// The characters with which words begin, in order, each with its words, the longest first.
    beginning: Vec<(char, Vec<usize>)>,
    /// The words that begin with an ASCII character, by that character.
    ascii: Vec<Vec<usize>>,
}

impl Words {
    /// Prepares words for looking.
    ///
    /// # Errors
    /// A word is empty or too long.
    pub fn new(words: &[String]) -> Result<Self, String> {
        let mut names: Vec<String> = Vec::new();
        for word in words {
            let name: String = word.trim().chars().flat_map(char::to_lowercase).collect();
            if name.is_empty() || name.chars().count() > LONGEST {
                return Err(format!(
                    "words: {word:?} must have from 1 to {LONGEST} characters"
                ));
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let folded: Vec<Vec<char>> = names.iter().map(|name| name.chars().collect()).collect();
        let mut order: Vec<usize> = (0..folded.len()).collect();
        order.sort_by_key(|word| (folded[*word][0], std::cmp::Reverse(folded[*word].len())));
        let mut beginning: Vec<(char, Vec<usize>)> = Vec::new();
        for word in order {
            let first = folded[word][0];
            match beginning.last_mut().filter(|(character, _)| *character == first) {
                Some((_, words)) => words.push(word),
                None => beginning.push((first, vec![word])),
            }
        }
        let mut ascii = vec![Vec::new(); 128];
        for (character, words) in &beginning {
            if character.is_ascii() {
                ascii[*character as usize].clone_from(words);
            }
        }
        Ok(Self {
            names,
            folded,
            beginning,
            ascii,
        })
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// A word as it was configured, in lower case.
    pub fn name(&self, word: usize) -> &str {
        &self.names[word]
    }

    /// Calls `found` with each place where a word stands by itself: the word and the first letter and
    /// the one after the last. Places do not overlap.
    pub fn find(&self, letters: &[Letter], mut found: impl FnMut(usize, usize, usize)) {
        let mut at = 0;
        while at < letters.len() {
            let is_start = at == 0 || !is_inside(letters, at);
            match is_start.then(|| self.word_at(letters, at)).flatten() {
                Some((word, end)) => {
                    found(word, at, end);
                    at = end;
                }
                None => at += 1,
            }
        }
    }

    /// Whether [`Self::find`] could find anything: a quick look at the bytes that settles it for most
    /// messages. `escapes` says whether a backslash may hide a character.
    pub fn may_stand_in(&self, body: &[u8], escapes: bool) -> bool {
        let mut was_inside = false;
        for (at, byte) in body.iter().enumerate() {
            if !byte.is_ascii() || (escapes && *byte == b'\\') {
                return true;
            }
            let inside = byte.is_ascii_alphanumeric();
            if !(was_inside && inside) && self.is_spelt(&body[at..]) {
                return true;
            }
            was_inside = inside;
        }
        false
    }

    /// Whether ASCII text begins with a word.
    fn is_spelt(&self, text: &[u8]) -> bool {
        let spelt = |word: &usize| {
            let name = self.names[*word].as_bytes();
            text.get(..name.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        self.ascii[usize::from(text[0].to_ascii_lowercase())]
            .iter()
            .any(spelt)
    }

    fn word_at(&self, letters: &[Letter], at: usize) -> Option<(usize, usize)> {
        let first = letters[at].character.to_lowercase().next()?;
        let at_first = self
            .beginning
            .binary_search_by_key(&first, |(character, _)| *character)
            .ok()?;
        self.beginning[at_first].1.iter().find_map(|word| {
            let end = matches(&letters[at..], &self.folded[*word])? + at;
            let is_end = end == letters.len() || !is_inside(letters, end);
            is_end.then_some((*word, end))
        })
    }
}

/// How many letters spell the word that `letters` begin with, if they do.
fn matches(letters: &[Letter], word: &[char]) -> Option<usize> {
    let mut rest = word;
    for (count, letter) in letters.iter().enumerate() {
        if rest.is_empty() {
            return Some(count);
        }
        for folded in letter.character.to_lowercase() {
            rest = rest.strip_prefix(&[folded])?;
        }
    }
    rest.is_empty().then_some(letters.len())
}

/// Whether a word goes on from the letter before `at` to the one there.
fn is_inside(letters: &[Letter], at: usize) -> bool {
    is_of_word(letters[at - 1].character) && is_of_word(letters[at].character)
}

/// Whether a character belongs to words: letters, digits, and the accents that follow a letter.
fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&character)
}
