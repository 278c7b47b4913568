# saber_settings(TARGET): the warnings and language level of every target of this project.
function(saber_settings target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
                                           -Woverloaded-virtual
                                           -Wno-restrict)  # g++ 12 reports it falsely for std::string
  if(SABER_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR})
  get_target_property(type ${target} TYPE)
  if(type STREQUAL EXECUTABLE)  # -fPIC, not -fPIE, so that executables can share the precompiled header
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
endfunction()

# saber_use_torch(TARGET): links LibTorch and shares the one precompiled torch/torch.h.
function(saber_use_torch target)
  target_link_libraries(${target} PUBLIC saber_torch)
  target_precompile_headers(${target} REUSE_FROM saber_torch_header)
endfunction()
