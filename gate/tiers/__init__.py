"""How the three tiers are observed, given two sessions and samples. Nothing is judged here."""
