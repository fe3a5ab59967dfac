package chaos

// Rows about what comes in.
func inputRows() []row {
	return []row{}
}
