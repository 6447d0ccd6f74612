"""Writers: the params-only state_dict, and the whole checkpoint with other device tags.

``plan_export`` or ``plan_remap`` say what would be written; ``write`` writes it, checks it, and only then puts it in
place.
"""
