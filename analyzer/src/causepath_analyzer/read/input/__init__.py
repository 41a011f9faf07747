"""Opens what the user named, as documents: files, folders, archives, standard input, servers."""
