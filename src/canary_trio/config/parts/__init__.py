"""The parts of a document, JSON to values and back: arms, rules, access; pure."""
