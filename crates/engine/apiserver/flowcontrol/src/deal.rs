//! Shuffle sharding: each flow gets a hand of queues, and few flows share a whole hand.

/// Largest hand.
const HAND_MAX: usize = 15;

/// Deals a hand of `hand_size` distinct cards out of `deck_size`, as `hash` says.
pub(crate) fn hand(mut hash: u64, deck_size: u32, hand_size: u32) -> Vec<u32> {
    let size = (hand_size.clamp(1, deck_size.max(1)) as usize).min(HAND_MAX);
    let mut drawn: Vec<u32> = Vec::with_capacity(size);
    for i in 0..size {
        let left = u64::from(deck_size.max(1)) - i as u64;
        drawn.push(u32::try_from(hash % left).unwrap_or_default());
        hash /= left;
    }
    // Each draw is out of the cards that are left: count over those drawn before.
    let cards = (0..size).map(|i| {
        let mut card = drawn[i];
        for before in drawn[..i].iter().rev() {
            if card >= *before {
                card += 1;
            }
        }
        card
    });
    cards.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hands_have_distinct_cards(hash: u64, deck in 1_u32..512, size in 1_u32..16) {
            let mut cards = hand(hash, deck, size);
            prop_assert!(cards.iter().all(|card| *card < deck));
            cards.sort_unstable();
            cards.dedup();
            prop_assert_eq!(cards.len() as u32, size.min(deck));
        }
    }

    #[test]
    fn all_cards_are_dealt_alike() {
        let mut dealt = [0_u32; 8];
        for hash in 0..(8 * 7 * 6) {
            for card in hand(hash, 8, 3) {
                dealt[card as usize] += 1;
            }
        }
        assert_eq!(dealt, [126; 8]);
    }
}
