"""The dialog that asks what to export, and how, and shows the plan while it is asked."""
