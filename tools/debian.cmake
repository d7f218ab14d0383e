# Run by CPack on the folder that it packs: what Debian has in other places.
set(share ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr/share)
file(RENAME ${share}/doc/tally/LICENSE ${share}/doc/tally/copyright)
file(RENAME ${share}/zsh/site-functions ${share}/zsh/vendor-completions)
execute_process(COMMAND gzip -9n ${share}/man/man1/tally.1 COMMAND_ERROR_IS_FATAL ANY)
