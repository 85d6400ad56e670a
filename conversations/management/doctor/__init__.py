"""What `doctor` looks at: functions that yield findings, by what they need."""
