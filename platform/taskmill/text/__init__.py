"""Texts for people: both languages of events and of others' words, what is safe to show, what may have been meant."""
