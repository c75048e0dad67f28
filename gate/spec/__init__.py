"""From spec text to a plan: strict reading, schema, tolerances, ``extends``, matrix. No framework."""
