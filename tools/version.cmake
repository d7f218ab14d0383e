# The version, from git: that of the newest tag vX.Y.Z (0.0.0 if there is none), the number of commits since that tag, and the
# commit; .dirty: with changes that are not committed. Without git, or in sources that are no clone: 0.0.0+unknown.
# As a script, it writes a header, if that changes:  cmake -D SOURCE=FOLDER -D HEADER=FILE -P version.cmake
function(tally_version result source)
  set(${result} "0.0.0+unknown" PARENT_SCOPE)
  find_program(GIT_PROGRAM git)
  if(NOT GIT_PROGRAM OR NOT EXISTS ${source}/.git)
    return()
  endif()
  execute_process(COMMAND ${GIT_PROGRAM} -C ${source} describe --tags --match v[0-9]* --always --long --dirty=.dirty
    OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  execute_process(COMMAND ${GIT_PROGRAM} -C ${source} rev-list --count HEAD
    OUTPUT_VARIABLE commits OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(described MATCHES "^v([0-9][0-9.]*)-0-g[0-9a-f]+$")
    set(${result} "${CMAKE_MATCH_1}" PARENT_SCOPE)
  elseif(described MATCHES "^v([0-9][0-9.]*)-([0-9]+)-(g[0-9a-f]+.*)$")
    set(${result} "${CMAKE_MATCH_1}+${CMAKE_MATCH_2}.${CMAKE_MATCH_3}" PARENT_SCOPE)
  elseif(described)
    set(${result} "0.0.0+${commits}.g${described}" PARENT_SCOPE)
  endif()
endfunction()

if(CMAKE_SCRIPT_MODE_FILE)
  tally_version(version ${SOURCE})
  set(text "#define TALLY_VERSION \"${version}\"\n")
  set(before "")
  if(EXISTS ${HEADER})
    file(READ ${HEADER} before)
  endif()
  if(NOT before STREQUAL text)
    file(WRITE ${HEADER} "${text}")
  endif()
endif()
