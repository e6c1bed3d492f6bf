"""Tests that may be looked at any time: of rates, of two arms, of groups of users."""
