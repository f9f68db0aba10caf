package engine

func (r *run) checkDeclared() error { return nil }
