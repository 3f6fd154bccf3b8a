//! Interned strings: a policy names the same verbs, groups and resources thousands of times.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A string of a [`Symbols`] table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Symbol(u32);

/// The empty string.
pub(crate) const EMPTY: Symbol = Symbol(0);
/// `*`.
pub(crate) const STAR: Symbol = Symbol(1);

/// A table of distinct strings.
#[derive(Debug, Clone)]
pub(crate) struct Symbols {
    texts: Vec<Arc<str>>,
    index: BTreeMap<Arc<str>, Symbol>,
}

impl Default for Symbols {
    fn default() -> Self {
        let mut symbols = Self {
            texts: Vec::new(),
            index: BTreeMap::new(),
        };
        symbols.intern("");
        symbols.intern("*");
        symbols
    }
}

impl Symbols {
    /// The symbol of `text`, made if needed.
    pub(crate) fn intern(&mut self, text: &str) -> Symbol {
        if let Some(symbol) = self.index.get(text) {
            return *symbol;
        }
        // Four thousand million distinct strings don't fit the memory a policy is given.
        let symbol = Symbol(self.texts.len() as u32);
        let text: Arc<str> = Arc::from(text);
        self.texts.push(text.clone());
        self.index.insert(text, symbol);
        symbol
    }

    /// The symbols of `texts`.
    pub(crate) fn intern_all(&mut self, texts: &[String]) -> Box<[Symbol]> {
        texts.iter().map(|t| self.intern(t)).collect()
    }

    /// The symbol of `text`, if the table has it.
    pub(crate) fn find(&self, text: &str) -> Option<Symbol> {
        self.index.get(text).copied()
    }

    /// The text of `symbol`, which must be of this table.
    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        &self.texts[symbol.0 as usize]
    }

    /// The texts of `symbols`.
    pub(crate) fn texts(&self, symbols: &[Symbol]) -> Vec<String> {
        symbols.iter().map(|s| self.text(*s).to_owned()).collect()
    }

    /// How many strings there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }
}
