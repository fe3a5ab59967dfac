package account

// Kept returns how many values a Derived keeps.
func Kept[T any](d *Derived[T]) int { return int(d.kept.Load()) }
